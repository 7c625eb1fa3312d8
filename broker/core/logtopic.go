package core

import "midge/broker/topic"

// logExpiry is how long a published log line lives.
const logExpiry Time = 20_000

// logTopics are the classes that have a topic under $SYS/broker/log/.
var logTopics = [...]struct {
	class Class
	name  string
}{
	{LogError, sysRoot + "log/E"},
	{LogWarning, sysRoot + "log/W"},
	{LogNotice, sysRoot + "log/N"},
	{LogInfo, sysRoot + "log/I"},
	{LogSubscribe, sysRoot + "log/M/subscribe"},
	{LogUnsubscribe, sysRoot + "log/M/unsubscribe"},
	{LogWebsockets, sysRoot + "log/WS"},
}

// logFilter says that a filter matches a topic of the log.
func logFilter(filter string) bool {
	for _, t := range logTopics {
		if topic.Match(filter, t.name) {
			return true
		}
	}
	return false
}

// HearsLog says that there are subscribers to the topics of the log.
func (b *Broker) HearsLog() bool { return b.ears > 0 }

// PublishLog publishes a line of the log, if its class has a topic. What that
// makes the broker log must not be published again.
func (b *Broker) PublishLog(c Class, line []byte, now Time) {
	for _, t := range logTopics {
		if t.class == c {
			b.pub = publication{topic: t.name, payload: view(line), expires: now + logExpiry, qos: 2}
			b.route(&b.pub, now)
			b.commit()
		}
	}
}
