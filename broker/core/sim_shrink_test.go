package core

import (
	"fmt"
	"io"
	"slices"
	"testing"
)

// simExplain makes a failing list of actions as short as it can, and writes what
// happens in it.
func simExplain(t *testing.T, seed uint64, acts []simAct, mutation *simMutation, to io.Writer) {
	first, _ := simRun(t, seed, acts, mutation, false)
	acts = simShrink(acts, func(some []simAct) bool {
		w, _ := simRun(t, seed, some, mutation, false)
		return w.wrong == first.wrong // else it is another failure
	})
	w, err := simRun(t, seed, acts, mutation, true)
	fmt.Fprintf(to, "seed %d, made to %d actions: %v\n", seed, len(acts), err)
	for _, line := range w.trace {
		fmt.Fprintln(to, line)
	}
}

// simTries is how often shrinking may play a list.
const simTries = 3000

// simShrink leaves out of a list what does not matter for it to fail: large parts
// first, then smaller ones, down to single actions.
func simShrink(acts []simAct, fails func([]simAct) bool) []simAct {
	tries := 0
	for size := len(acts) / 2; size > 0; {
		cut := false
		for at := 0; at < len(acts) && tries < simTries; {
			some := slices.Delete(slices.Clone(acts), at, min(at+size, len(acts)))
			if tries++; fails(some) {
				acts, cut = some, true
			} else {
				at += size
			}
		}
		if !cut || size > 1 {
			size /= 2
		}
	}
	return acts
}
