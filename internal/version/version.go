// Package version tells which build of the project a program is. The go command
// writes into every program what it was built from: the module's version, and
// the revision if it was built in a clone. This room reads that back, so
// -version and the metric balancelab_build_info always say the same.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
)

// unknown stands for what the build does not say: it was not built in a clone,
// or with -buildvcs=false, as go run and go test do.
const unknown = "unknown"

// A Build is what a program was built from.
type Build struct {
	Version  string // of the module; "(devel)" if it has none
	Revision string // of the version control; "unknown" if the build does not say it
	// Dirty is "true" if files had been changed since Revision, "false" if not,
	// and "unknown" if the build does not say it.
	Dirty string
	Go    string // the version of Go, such as go1.26.8
}

// Read returns the build of this program.
func Read() Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{GoVersion: runtime.Version()}
	}
	return of(info)
}

func of(info *debug.BuildInfo) Build {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	return Build{
		Version:  cmp.Or(info.Main.Version, "(devel)"),
		Revision: cmp.Or(settings["vcs.revision"], unknown),
		Dirty:    cmp.Or(settings["vcs.modified"], unknown),
		Go:       info.GoVersion,
	}
}

// String returns the build in one line, for people.
func (b Build) String() string {
	state := map[string]string{"true": ", dirty", "false": ", not dirty"}[b.Dirty]
	return fmt.Sprintf("%s, revision %s%s, %s", b.Version, b.Revision, state, b.Go)
}
