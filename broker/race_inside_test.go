//go:build race

package broker

func init() { underRaceDetector = true }
