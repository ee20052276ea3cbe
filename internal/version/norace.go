//go:build !race

package version

// RaceDetector says whether this program has the race detector, and so each that it
// builds.
const RaceDetector = false
