package core

import (
	"regexp"
	"strings"
	"testing"
)

// lineShapes are the log lines of the protocol, mosquitto 2.1's unless said
// otherwise, with the class that each has. ID, A:P, T, N and such stand for what
// differs.
func lineShapes() map[Class][]string {
	return map[Class][]string{
		LogNotice: {
			"New client connected from A:P as ID (pV, cC, kN).",
			"New client connected from A:P as ID (pV, cC, kN, u'USER').",
			"New bridge connected from A:P as ID (pV, cC, kN).",
			"Client ID [A:P] disconnected.",
			"Client ID [A:P] disconnected: connection closed by client.",
			"Client ID [A:P] disconnected: Connection reset by peer.",
			"Client ID [A:P] disconnected: exceeded timeout.",
			"Client ID [A:P] disconnected: protocol error.",
			"Client ID [A:P] disconnected: malformed packet.",
			"Client ID [A:P] disconnected: not authorised.",
			"Client ID [A:P] disconnected: oversize packet.",
			"Client ID [A:P] disconnected: oversize payload.",
			"Client ID [A:P] disconnected: used disallowed feature (QoS too high, retain not supported, or bad AUTH method).",
			"Client ID [A:P] disconnected: session taken over.",
			"Client ID [A:P] disconnected: client identifier not valid.",
			"Client ID [A:P] disconnected: topic alias invalid.",
			"Client ID [A:P] disconnected: server busy.",
			"Client ID [A:P] disconnected: quota exceeded.",
			"Expiring client ID due to timeout.",
			"Outgoing messages are being dropped for client ID.",
			"Dropping too large outgoing PUBLISH for ID (N bytes)",
			"Bad client A:P sending multiple CONNECT messages.",
			"Client from A:P appears to be using TLS to connect to a non-TLS listener.",
			"Dropping too large outgoing TYPE for ID (N bytes)",                     // midge's
			"Client ID asks for a keep alive of N seconds, and max_keepalive is N.", // midge's
			"dangerous ID", // of the scripts' rules
		},
		LogWarning: {
			"Reused message ID N from ID detected. Clearing from storage.",
			"Warning: Received PUBREC from ID for an unknown packet identifier N.",
			"Client ID has exceeded its receive-maximum quota. This behaviour must be fixed on the client.",
		},
		LogError: {
			"Protocol error from ID: password without username, closing connection.",
		},
		LogInfo: {
			"Protocol error from ID: WHY",
			"Invalid QoS in PUBLISH from ID, disconnecting.",
			"Too high QoS in PUBLISH from ID, disconnecting.",
			"Invalid PUBLISH (QoS=0 and DUP=1) from ID, disconnecting.",
			"Empty subscription string from A, disconnecting.",
			"Invalid subscription string from A, disconnecting.",
			"Invalid QoS in subscription command from A, disconnecting.",
			"Empty unsubscription string from ID, disconnecting.",
			"Invalid unsubscription string from ID, disconnecting.",
		},
		LogSubscribe:   {"ID Q T"},
		LogUnsubscribe: {"ID T"},
		LogDebug: {
			"Will message specified (N bytes) (rB, qQ).",
			"\tT",
			"No will message specified.",
			"Sending CONNACK to ID (B, N)",
			"Received PUBLISH from ID (dB, qQ, rB, mN, 'T', ... (N bytes))",
			"Sending PUBLISH to ID (dB, qQ, rB, mN, 'T', ... (N bytes))",
			"Denied PUBLISH from ID (dB, qQ, rB, mN, 'T', ... (N bytes))",
			"Dropped too deep PUBLISH from ID (dB, qQ, rB, mN, 'T', ... (N bytes))",
			"Rejected PUBLISH from ID, quota exceeded.",
			"Dropped too large PUBLISH from ID (dB, qQ, rB, mN, 'T', ... (N bytes))",
			"Received PUBACK from ID (Mid: N, RC:N)",
			"Received PUBCOMP from ID (Mid: N, RC:N)",
			"Received PUBREC from ID (Mid: N)",
			"Received PUBREL from ID (Mid: N)",
			"Sending PUBACK to ID (mN, rcN)",
			"Sending PUBREC to ID (mN, rcN)",
			"Sending PUBREL to ID (mN)",
			"Sending PUBCOMP to ID (mN)",
			"Received SUBSCRIBE from ID",
			"\tT (QoS Q)",
			"\tT (denied)",
			"Sending SUBACK to ID",
			"Received UNSUBSCRIBE from ID",
			"Sending UNSUBACK to ID",
			"Received PINGREQ from ID",
			"Sending PINGRESP to ID",
			"Received DISCONNECT from ID",
			"Client ID connected with too large Will payload",
		},
	}
}

// linePattern is a shape as an expression for whole lines.
func linePattern(shape string) *regexp.Regexp {
	text := regexp.QuoteMeta(shape)
	for _, r := range [][2]string{
		{"ID", `.*`}, {"A:P", `127\.0\.0\.1:4\d+`}, {"A,", `127\.0\.0\.1,`}, {"USER", `[^']*`}, {"WHY", `\S.*`}, {"TYPE", `[A-Z]+`},
		{"V", `[345]`}, {"C", `[01]`}, {"B", `[01]`}, {"N", `\d+`}, {"Q", `[012]`}, {"T", `.+`},
	} {
		// Only where the letters stand alone, or behind one small letter.
		text = regexp.MustCompile(`(^|[^A-Z])`+regexp.QuoteMeta(r[0])+`([^A-Za-z]|$)`).ReplaceAllStringFunc(text, func(s string) string {
			return strings.Replace(s, r[0], r[1], 1)
		})
	}
	return regexp.MustCompile("^(?s:" + text + ")$")
}

// TestLines: every line that the scripts bring about has one of the shapes and its
// class, and every shape is met.
func TestLines(t *testing.T) {
	type shape struct {
		text    string
		pattern *regexp.Regexp
		met     bool
	}
	shapes := map[Class][]*shape{}
	for class, texts := range lineShapes() {
		for _, text := range texts {
			shapes[class] = append(shapes[class], &shape{text: text, pattern: linePattern(text)})
		}
	}
	wrong := map[string]bool{}
	heard := func(c Class, line string) {
		fits := false
		for _, s := range shapes[c] {
			if s.pattern.MatchString(line) {
				s.met, fits = true, true
			}
		}
		if !fits && !wrong[line] && len(wrong) < 20 {
			wrong[line] = true
			t.Errorf("no line of class %b is like: %s", c, line)
		}
	}
	for _, file := range scriptFiles(t) {
		_, cases := readScript(t, file)
		for _, c := range cases {
			for _, v := range c.Versions {
				target := newTarget()
				target.log.heard = heard
				if err := c.Run(target, v, c.Modes[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for class, list := range shapes {
		for _, s := range list {
			if !s.met {
				t.Errorf("not met, class %b: %s", class, s.text)
			}
		}
	}
}
