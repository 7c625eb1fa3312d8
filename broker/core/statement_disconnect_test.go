package core

import (
	"slices"
	"strings"
	"testing"

	"midge/packet"
)

// TestKick: an administrator's reason reaches a v5 client, and the log.
func TestKick(t *testing.T) {
	for v, want := range map[packet.Version][]string{
		packet.V31: {"close"}, packet.V311: {"close"}, packet.V5: {"DISCONNECT 98", "close"},
	} {
		k := &talk{target: newTarget(), t: t}
		k.mustOpen("a", v)
		k.b.Kick(&k.conns["a"].Client, packet.AdministrativeAction, "administrative action", k.now)
		if got := k.answers("a", v); !slices.Equal(got, want) {
			t.Errorf("v%d: %q, not %q", v, got, want)
		}
		lines, _ := k.Logged()
		log := strings.Join(lines, "\n")
		if !strings.HasSuffix(log, "Client a [127.0.0.1:40001] disconnected: administrative action.") {
			t.Errorf("v%d: the log says %s", v, log)
		}
		if err := k.finish(); err != nil {
			t.Error(err)
		}
	}
}
