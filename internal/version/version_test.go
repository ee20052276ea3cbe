package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestOf(t *testing.T) {
	stamped := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "vcs.revision", Value: "54d19e9"}, {Key: "vcs.modified", Value: modified}}
	}
	for _, test := range []struct {
		info debug.BuildInfo
		want Build
		text string
	}{
		{debug.BuildInfo{GoVersion: "go1.26.8"},
			Build{"(devel)", "unknown", "unknown", "go1.26.8"}, "(devel), revision unknown, go1.26.8"},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3"}, Settings: stamped("false")},
			Build{"v1.2.3", "54d19e9", "false", "go1.26.8"}, "v1.2.3, revision 54d19e9, not dirty, go1.26.8"},
		{debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v1.2.3+dirty"}, Settings: stamped("true")},
			Build{"v1.2.3+dirty", "54d19e9", "true", "go1.26.8"}, "v1.2.3+dirty, revision 54d19e9, dirty, go1.26.8"},
	} {
		if got := of(&test.info); got != test.want || got.String() != test.text {
			t.Errorf("got %+v, %q, want %+v, %q", got, got, test.want, test.text)
		}
	}
}

func TestRead(t *testing.T) {
	if b := Read(); b.Go != runtime.Version() || b.Version == "" || b.Revision == "" || b.Dirty == "" {
		t.Errorf("got %+v", b)
	}
}
