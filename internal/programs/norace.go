//go:build !race

package programs

// RaceDetector says whether this program, and so each that it builds, has the
// race detector.
const RaceDetector = false
