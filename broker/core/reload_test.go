package core

import (
	"testing"

	"midge/packet"
)

// TestConfigureConnected: a client before version 5 follows the new end of its session;
// one of version 5 keeps what it was told.
func TestConfigureConnected(t *testing.T) {
	cfg := plain()
	r := newRig(t, cfg)
	old := r.connect(packet.V311, "old", durably)
	now := r.connect(packet.V5, "now", lasting(1000))
	cfg.MaxSessionExpiry = 60_000
	r.Configure(cfg, r.now)
	old.drop()
	now.drop()
	r.wait(61_000)
	if r.sessions["old"] != nil || r.sessions["now"] == nil {
		t.Errorf("sessions: %v", r.sessions)
	}
}

// TestFollow: what CONNACK said, and the mount point, stay.
func TestFollow(t *testing.T) {
	l := Listener{Port: 1, MaxQoS: 2, MaxAlias: 10, Mount: "a/", Anonymous: true}
	l.Follow(&Listener{Port: 1, MaxQoS: 1, MaxAlias: 0, MaxAliasOut: 3, Mount: "b/"})
	if l.MaxQoS != 2 || l.MaxAlias != 10 || l.Mount != "a/" || l.Anonymous || l.MaxAliasOut != 3 {
		t.Errorf("%+v", l)
	}
}
