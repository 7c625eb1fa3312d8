package core

import (
	"strings"

	"midge/packet"
)

// controlPrefix begins the topics by which a client talks to the broker itself. What
// is published there is never distributed; the answer goes to the client that asked
// and to nobody else, whether it has subscribed or not.
const controlPrefix = "$CONTROL/"

// A Control answers a request published to a topic that begins with $CONTROL/. No
// answer at all (nil) means that there is no such endpoint. topic and request are
// views that are valid during the call only; the answer is core's until the next one.
type Control func(c *Client, topic string, request []byte) []byte

const noEndpoint = `{"error": "endpoint not available"}`

// mayControl says whether c may publish to topics of controlPrefix at all. Bridges
// may not: another broker's clients are not ours.
func (b *Broker) mayControl(c *Client) bool {
	return b.cfg.ControlAPI && c.flags&flagBridge == 0
}

// askControl lets the broker answer a request, at QoS 0 as mosquitto does.
func (b *Broker) askControl(c *Client, p *packet.Packet, name string) {
	if b.debug {
		b.logReceived("Received PUBLISH from", c, p, name)
	}
	answer := []byte(nil)
	if b.control != nil {
		answer = b.control(c, name, p.Payload)
	}
	if answer == nil {
		answer = []byte(noEndpoint)
	}
	b.work += workControl + len(answer)/workControlBytes
	reply := c.nameFor(name) + "/response"
	if len(reply) <= packet.StringMax {
		b.stats.PublishSent++
		b.stats.PublishBytesSent += uint64(len(answer))
		if b.debug {
			b.logPublish("Sending PUBLISH to", c.session.id, 0, 0, reply, len(answer))
		}
		b.answer(c, follows, 0, packet.AppendPublish(b.scratch[:0], c.version, 0, reply, 0, "", view(answer)))
	}
	b.acknowledge(c, p, packet.Success)
}

// isControl says that name is one of the broker's own endpoints, or would be.
func isControl(name string) bool { return strings.HasPrefix(name, controlPrefix) }
