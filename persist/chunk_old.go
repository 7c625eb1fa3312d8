package persist

// Versions 2 to 4, which mosquitto wrote before 1.6: a chunk is its fields in a
// row. A string (s) has its length in two bytes in front.
//
//	chunk         +----------+------------+--------+
//	              | kind (2) | length (4) | fields |
//	              +----------+------------+--------+
//	config        stopped (1), id size (1), last id (8)
//	message       id (8), source s, [from 4 on: user s, port (2)], source mid (2), 0 (2), topic s, QoS (1), retain (1),
//	              length (4), payload
//	delivery      client s, message (8), mid (2), QoS (1), retain (1), direction (1), state (1), dup (1)
//	retained      message (8)
//	subscription  client s, filter s, QoS (1)
//	session       client s, last mid (2), [from 3 on: when its connection ended (8)]
const headSizeOld = 2 + 4

func (c *configChunk) decodeOld(f *fields) bool {
	*c = configChunk{stopped: f.byte() != 0, idSize: f.byte(), last: f.native()}
	return f.done()
}

func (c *messageChunk) decodeOld(f *fields, version uint32) bool {
	*c = messageChunk{id: f.native(), source: f.string16()}
	if version >= 4 {
		c.user, c.port = f.string16(), f.uint16()
	}
	c.mid = f.uint16()
	f.uint16()
	c.topic, c.qos, c.retain = f.string16(), f.byte(), f.byte()
	c.payload = f.text(int(f.uint32()))
	return f.done() && c.valid()
}

func (c *deliveryChunk) decodeOld(f *fields) bool {
	*c = deliveryChunk{client: f.string16(), message: f.native(), mid: f.uint16(), qos: f.byte(), retain: f.byte() != 0}
	c.outgoing, c.state, c.dup = f.byte() != 0, f.byte(), f.byte() != 0
	return f.done() && c.valid()
}

func (c *subscriptionChunk) decodeOld(f *fields) bool {
	*c = subscriptionChunk{client: f.string16(), filter: f.string16(), qos: f.byte()}
	return f.done() && c.valid()
}

// decodeOld gives the session what it had: these versions know only sessions
// that never end.
func (c *sessionChunk) decodeOld(f *fields, version uint32) bool {
	*c = sessionChunk{client: f.string16(), last: f.uint16(), expiry: neverEnds}
	if version >= 3 {
		c.gone = int64(f.native())
	}
	return f.done() && c.valid()
}
