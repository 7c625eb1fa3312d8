package core

import "midge/persist"

// simMutation is a bug put in by hand, around the broker, to see that the simulation
// finds it.
type simMutation struct{}

func (simMutation) recorder(r persist.Recorder) persist.Recorder { return r }
func (simMutation) output(_ *simConn, b []byte) []byte           { return b }
func (simMutation) handed(*simWorld)                             {}
