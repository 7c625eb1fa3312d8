package core

import (
	"fmt"
	"strings"

	"midge/broker/topic"
	"midge/packet"
)

// aliases are a v5 connection's topic aliases. The two directions have nothing
// to do with each other, and neither outlives the connection (v5 [MQTT-3.3.2-7]).
type aliases struct {
	in  []string          // by alias less one; "" is not set
	out map[string]uint16 // ours towards the client, first come, first served

	cost int64 // in the account
}

func (c *Client) aliasTable() *aliases { return &c.more().aliases }

// resolve is the topic of a PUBLISH that carries an alias: it sets the alias, or
// uses it when the topic is empty (v5 3.3.2.3.4).
func (b *Broker) resolve(c *Client, p *packet.Packet) (string, error) {
	alias := p.Props.TopicAlias
	if alias > c.Listener.MaxAlias {
		return "", faultAlias
	}
	if alias == 0 { // v5 [MQTT-3.3.2-8]
		return "", &fault{cause: causeProtocol, why: "PUBLISH invalid topic alias (0)."}
	}
	t := c.aliasTable()
	i := int(alias) - 1
	if len(p.Topic) == 0 {
		if i >= len(t.in) || t.in[i] == "" {
			return "", &fault{cause: causeProtocol, why: fmt.Sprintf("PUBLISH invalid topic alias (%d).", alias)}
		}
		return t.in[i], nil
	}
	if topic.CheckName(p.Topic) != nil {
		return "", faultTopic
	}
	if (i >= len(t.in) || t.in[i] != view(p.Topic)) && b.tightForAlias(t, len(p.Topic)) {
		return "", faultQuota
	}
	for i >= len(t.in) {
		t.in = append(t.in, "")
		b.accountAlias(t, costAlias)
	}
	if t.in[i] != view(p.Topic) {
		b.accountAlias(t, len(p.Topic)-len(t.in[i]))
		t.in[i] = string(p.Topic)
	}
	return t.in[i], nil
}

// aliasFor is what a PUBLISH to c carries for a topic: the topic alone, the
// topic with an alias that it sets, or an alias in its place
// (v5 [MQTT-3.1.2-26], [MQTT-3.3.2-11]). The packet is appended at once, so
// none that sets an alias is ever dropped.
func (b *Broker) aliasFor(c *Client, name string) (string, uint16) {
	t := c.aliasTable()
	if a, ok := t.out[name]; ok {
		return "", a
	}
	if len(t.out) >= int(c.aliasMax) || b.tightForAlias(t, len(name)) {
		return name, 0
	}
	if t.out == nil {
		t.out = make(map[string]uint16)
	}
	a := uint16(len(t.out) + 1)
	t.out[strings.Clone(name)] = a
	b.accountAlias(t, costAlias+len(name))
	return name, a
}
