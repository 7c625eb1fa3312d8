package core

// Stats are the broker's counters, since its start unless said otherwise.
type Stats struct {
	MessagesReceived, MessagesSent uint64 // packets of any type
	BytesReceived, BytesSent       uint64 // on the wire

	PublishReceived, PublishSent           uint64
	PublishBytesReceived, PublishBytesSent uint64 // payloads
	PublishDropped                         uint64

	Sockets     uint64 // connections accepted
	Connections uint64 // CONNECT packets
	Expired     uint64 // sessions ended by their expiry

	MaxClients          int   // the most sessions there were at once
	Subscriptions       int   // now
	SharedSubscriptions int   // now
	Queued              int   // deliveries held for sessions now, waiting or under way
	QueuedBytes         int64 // payloads of those
	RetainedBytes       int64 // payloads of retained messages now
}
