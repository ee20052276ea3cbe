package status_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"balancelab/internal/programs"
)

var picture = flag.String("picture", "", "write the picture of README.md into this `file`")

// pictureSize is how many bytes that picture may have: everyone who looks at the
// repository loads it.
const pictureSize = 150 << 10

// TestPicture draws the picture at the top of README.md: the lab's page in the
// middle of a comparison. It takes half a minute; "make picture" runs it.
func TestPicture(t *testing.T) {
	if *picture == "" {
		t.Skip("no file for the picture: see -picture")
	}
	url := startRealLab(t)
	b := openBrowser(t)
	b.look(1600, "light", "no-preference")
	// A screen's width, which README.md shows as a column of text: fewer pixels do.
	b.call("Emulation.setDeviceMetricsOverride", args{"width": 1600, "height": 900, "deviceScaleFactor": 0.75, "mobile": false}, nil)
	b.visit(url)
	b.await(`document.querySelector("#compare")`)
	b.click("#burst") // so that a little has happened before
	b.await(`document.querySelector("#progress").textContent.startsWith("Over")`)
	b.eval(`{ const rate = document.querySelector("#rate-of"); rate.value = 2.5; rate.dispatchEvent(new Event("input")); }`, nil)
	b.click("#compare")
	for _, so := range []string{"Running, Round robin: 30 ", "Least connections: [0-9]", "Least connections: (1[5-9]|2[0-9]) "} { // each takes some seconds
		b.await("/" + so + `/.test(document.querySelector("#progress").textContent)`)
	}
	b.shoot(*picture, "#beside-section")
	info, err := os.Stat(*picture)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > pictureSize {
		t.Errorf("the picture has %d bytes, more than %d", info.Size(), pictureSize)
	}
}

// startRealLab runs scripts/lab on free ports until the test ends, and returns the
// URL of its page.
func startRealLab(t *testing.T) (url string) {
	t.Helper()
	set := programs.Set{Dir: t.TempDir()}
	if text, err := exec.Command("go", "build", "-buildvcs=false", "-o", set.Dir+string(filepath.Separator), "balancelab/scripts/lab").CombinedOutput(); err != nil {
		t.Fatalf("build the lab: %v\n%s", err, text)
	}
	p, err := set.Start("lab", set.Command("lab", "-no-open", "-port", "0", "-page", "0", "-first", "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Stop(); err != nil {
			t.Error(err)
		}
	})
	err = p.Until(t.Context(), "where its page is", func() bool {
		for _, line := range p.Stdout.Lines() {
			if _, after, found := strings.Cut(line, "| The page is at "); found {
				url = after
			}
		}
		return url != ""
	})
	if err != nil {
		t.Fatal(err)
	}
	return url
}
