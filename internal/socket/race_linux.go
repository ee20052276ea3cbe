//go:build race

package socket

// raceDetector says that the race detector watches.
const raceDetector = true
