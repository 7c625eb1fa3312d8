package broker

import (
	"bytes"
	"encoding/json"
	"strings"

	"midge/broker/core"
	"midge/conf"
)

// The broker's own endpoint below $CONTROL/, which mosquitto_ctrl speaks to: a JSON
// request with a list of commands, a response to each of them.

const controlEndpoint = "$CONTROL/broker/v1"

// The limits of a request; more would hold up the loop.
const (
	maxControlRequest  = 64 << 10  // bytes
	maxControlResponse = 256 << 10 // bytes, about: then the commands left over are refused
)

// controlResponse is what one command is answered with.
type controlResponse struct {
	Command     string  `json:"command"`
	Data        any     `json:"data,omitempty"`
	Error       string  `json:"error,omitempty"`
	Correlation *string `json:"correlationData,omitempty"`
}

// listenerInfo is a listener as listListeners tells of it.
type listenerInfo struct {
	Port     int    `json:"port"`
	Protocol string `json:"protocol"`
	Address  string `json:"bind-address,omitempty"`
	Path     string `json:"socket-path,omitempty"`
	TLS      bool   `json:"tls"`
}

// pluginInfo is a built-in plugin as listPlugins tells of it.
type pluginInfo struct {
	Name string `json:"name"`
	Port int    `json:"port,omitempty"`
}

// control answers a request of c's, see core.Control.
func (s *Server) control(c *core.Client, topic string, request []byte) []byte {
	if topic != controlEndpoint {
		return nil
	}
	commands, wrong := controlCommands(request)
	if wrong != "" {
		return controlAnswer(marshal(controlResponse{Command: "Unknown command", Error: wrong}))
	}
	var responses [][]byte
	size := 0
	for _, raw := range commands {
		r := controlCommand(raw)
		if r.Error == "" && size > maxControlResponse {
			r.Error = "Response too large"
		}
		if r.Error == "" {
			r.Data = s.controlData(r.Command)
			s.log.Logf(core.LogInfo, "Broker: %s/%s | %s", c.ID(), c.Username(), r.Command)
		}
		b := marshal(r)
		size += len(b)
		responses = append(responses, b)
	}
	return controlAnswer(responses...)
}

func controlAnswer(responses ...[]byte) []byte {
	all := append([]byte(`{"responses":[`), bytes.Join(responses, []byte{','})...)
	return append(all, "]}"...)
}

// controlCommands takes a request apart, or tells what is wrong with it.
func controlCommands(request []byte) (commands []json.RawMessage, wrong string) {
	var body struct{ Commands json.RawMessage }
	switch {
	case len(request) > maxControlRequest:
		return nil, "Payload too large"
	case !json.Valid(request):
		return nil, "Payload not valid JSON"
	case json.Unmarshal(request, &body) != nil, json.Unmarshal(body.Commands, &commands) != nil, commands == nil:
		return nil, "Invalid/missing commands"
	}
	return commands, ""
}

// The names of the commands, as they are spelt in answers.
const (
	listListeners = "listListeners"
	listPlugins   = "listPlugins"
)

// controlCommand reads one command: the name and correlation data of its answer, or
// what is wrong with it.
func controlCommand(raw json.RawMessage) (r controlResponse) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return controlResponse{Command: "Unknown command", Error: "Command not an object"}
	}
	var name *string
	if json.Unmarshal(fields["command"], &name) != nil || name == nil {
		return controlResponse{Command: "Unknown command", Error: "Missing command"}
	}
	r.Command = *name
	if given, ok := fields["correlationData"]; ok {
		if json.Unmarshal(given, &r.Correlation) != nil || r.Correlation == nil {
			return controlResponse{Command: r.Command, Error: "Invalid correlationData data type."}
		}
	}
	for _, known := range [...]string{listListeners, listPlugins} {
		if strings.EqualFold(r.Command, known) {
			r.Command = known
			return r
		}
	}
	r.Error = "Unknown command"
	return r
}

// controlData is what a command asks for.
func (s *Server) controlData(command string) any {
	if command == listPlugins {
		all := []pluginInfo{}
		for _, p := range s.conf.Plugins {
			all = append(all, pluginInfo{p.Name, p.Port})
		}
		return map[string]any{"plugins": all}
	}
	all := []listenerInfo{}
	for _, l := range s.listeners {
		all = append(all, infoOf(&l.conf))
	}
	return map[string]any{"listeners": all}
}

func infoOf(l *conf.Listener) listenerInfo {
	protocol := "mqtt"
	if l.Web.On {
		protocol = "mqtt+websockets"
	}
	return listenerInfo{Port: l.Port, Protocol: protocol, Address: l.Host, Path: l.Path, TLS: l.TLS.On()}
}

// marshal is v as compact JSON.
func marshal(v any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // what is encoded here can be
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}
