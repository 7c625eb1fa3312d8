//go:build race

package broker_test

func init() { underRace = true }
