package broker_test

import (
	"strings"
	"testing"
)

// TestControl: $CONTROL/broker/v1 answers the client that asks, command by command.
func TestControl(t *testing.T) {
	t.Parallel()
	s := serve(t, `enable_control_api true
allow_anonymous true
listener {port} 127.0.0.1
listener {second} 127.0.0.1
listener 0 {dir}/socket
protocol websockets`)
	other := s.connect("other", 4, "clean")
	other.send("SUBSCRIBE 1 $CONTROL/#")
	other.expect("SUBACK 1 00")
	c := s.connect("c", 5, "clean user=u")
	listeners := s.expand(`{"listeners":[{"port":{port},"protocol":"mqtt","bind-address":"127.0.0.1","tls":false},` +
		`{"port":{second},"protocol":"mqtt","bind-address":"127.0.0.1","tls":false},` +
		`{"port":0,"protocol":"mqtt+websockets","socket-path":"{dir}/socket","tls":false}]}`)
	for _, tt := range []struct{ request, want string }{
		{`{"commands":[{"command":"listListeners"}]}`, `{"command":"listListeners","data":` + listeners + `}`},
		{`{"commands":[{"command":"listlisteners","correlationData":"a<b"},{"command":"LISTPLUGINS"}]}`,
			`{"command":"listListeners","data":` + listeners + `,"correlationData":"a<b"},{"command":"listPlugins","data":{"plugins":[]}}`},
		{`{"commands":[]}`, ``},
		{`{"commands":[{"command":"reboot","correlationData":"1"},{"command":"listPlugins","correlationData":"2"}]}`,
			`{"command":"reboot","error":"Unknown command","correlationData":"1"},{"command":"listPlugins","data":{"plugins":[]},"correlationData":"2"}`},
		{`{"commands":[{"command":"listPlugins","correlationData":5}]}`, `{"command":"listPlugins","error":"Invalid correlationData data type."}`},
		{`{"commands":[{"command":"listPlugins","correlationData":null}]}`, `{"command":"listPlugins","error":"Invalid correlationData data type."}`},
		{`{"commands":[{"command":5},{},5,null,[]]}`, `{"command":"Unknown command","error":"Missing command"},` +
			`{"command":"Unknown command","error":"Missing command"},{"command":"Unknown command","error":"Command not an object"},` +
			`{"command":"Unknown command","error":"Command not an object"},{"command":"Unknown command","error":"Command not an object"}`},
		{`{"commands":{}}`, `{"command":"Unknown command","error":"Invalid/missing commands"}`},
		{`{"commands":null}`, `{"command":"Unknown command","error":"Invalid/missing commands"}`},
		{`{}`, `{"command":"Unknown command","error":"Invalid/missing commands"}`},
		{`[]`, `{"command":"Unknown command","error":"Invalid/missing commands"}`},
		{`null`, `{"command":"Unknown command","error":"Invalid/missing commands"}`},
		{``, `{"command":"Unknown command","error":"Payload not valid JSON"}`},
		{`{"commands":`, `{"command":"Unknown command","error":"Payload not valid JSON"}`},
	} {
		c.send("PUBLISH $CONTROL/broker/v1 '" + tt.request + "' qos=1 id=1")
		p := c.next()
		if got, want := string(p.Payload), `{"responses":[`+tt.want+`]}`; got != want || string(p.Topic) != "$CONTROL/broker/v1/response" || p.QoS != 0 || p.Retain {
			t.Errorf("%s: %s (QoS %d) received\n\t%s\nnot\n\t%s", tt.request, p.Topic, p.QoS, got, want)
		}
		c.expect("PUBACK 1")
	}
	s.await("Broker: c/u | listListeners")
	s.await("Broker: c/u | listPlugins")
	c.send("PUBLISH $CONTROL/dynamic-security/v1 '{}'")
	if got := string(c.next().Payload); got != `{"error": "endpoint not available"}` {
		t.Errorf("got %s", got)
	}
	other.lives()
}

// TestControlLimits: a request that is too large, and one whose answer would be.
func TestControlLimits(t *testing.T) {
	t.Parallel()
	s := serve(t, "enable_control_api true")
	c := s.connect("c", 5, "clean")
	request := func(n int) string {
		return `{"commands":[` + strings.Repeat(`{"command":"listListeners"},`, n) + `{}]}`
	}
	c.send("PUBLISH $CONTROL/broker/v1 '" + request(3000) + "'")
	if got := string(c.next().Payload); got != `{"responses":[{"command":"Unknown command","error":"Payload too large"}]}` {
		t.Errorf("got %s", got)
	}
	c.send("PUBLISH $CONTROL/broker/v1 '" + request(2300) + "'")
	p := c.next()
	answer := string(p.Payload)
	if len(answer) < 256<<10 || len(answer) > 300<<10 {
		t.Errorf("an answer of %d bytes", len(answer))
	}
	if !strings.HasSuffix(answer, `{"command":"listListeners","error":"Response too large"},{"command":"Unknown command","error":"Missing command"}]}`) {
		t.Errorf("it ends with %s", answer[len(answer)-200:])
	}
	if n := strings.Count(answer, `{"command":`); n != 2301 {
		t.Errorf("%d responses", n)
	}
	c.lives()
}

// TestControlOff: without enable_control_api nobody may ask.
func TestControlOff(t *testing.T) {
	t.Parallel()
	s := serve(t, "")
	c := s.connect("c", 5, "clean")
	c.send(`PUBLISH $CONTROL/broker/v1 '{"commands":[{"command":"listListeners"}]}' qos=1 id=1`)
	c.expect("PUBACK 1 rc=87")
}
