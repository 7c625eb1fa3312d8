package core

import (
	"strings"

	"midge/broker/topic"
	"midge/packet"
)

// The mount point of a listener stands in front of every topic and filter of its
// clients, glued on as it is: with home/ as mount point, what they call "a" is
// "home/a" to everybody else. All of core has whole names; the other ones are
// only in the packets of such clients. Of a shared subscription it is the filter
// behind the group that is mounted.
//
// Subscriptions and queues belong to the session. So a client that comes back by
// another listener may be due a message that it has no name for, as may one that
// asked for # with the topic "home": they are passed over.

// mount is the whole name of c's topic, in scratch space.
func (b *Broker) mount(c *Client, name string) (string, error) {
	b.mounted = append(append(b.mounted[:0], c.Listener.Mount...), name...)
	if len(b.mounted) > packet.StringMax || topic.CheckName(b.mounted) != nil {
		return "", faultTopic
	}
	return view(b.mounted), nil
}

// mountFilter is the whole of a legal filter of c's. One that is not legal behind
// the mount point is not ok: "#" behind "home" without a slash, for example.
func (c *Client) mountFilter(filter []byte) (whole string, ok bool) {
	if c.flags&flagMounted == 0 {
		return string(filter), true
	}
	_, rest, shared, _ := topic.Shared(filter)
	if !shared {
		rest = filter
	}
	behind := c.Listener.Mount + string(rest)
	whole = string(filter[:len(filter)-len(rest)]) + behind
	return whole, len(whole) <= packet.StringMax && topic.CheckFilter(raw(behind)) == nil
}

// sees says whether c has a name for a topic.
func (c *Client) sees(name string) bool {
	return c.flags&flagMounted == 0 || len(name) > len(c.Listener.Mount) && strings.HasPrefix(name, c.Listener.Mount)
}

// nameFor is what c calls a topic that it sees.
func (c *Client) nameFor(name string) string {
	if c.flags&flagMounted == 0 {
		return name
	}
	return name[len(c.Listener.Mount):]
}
