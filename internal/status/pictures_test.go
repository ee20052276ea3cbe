package status_test

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"balancelab/internal/console"
	"balancelab/internal/protocol"
	"balancelab/internal/worker"
)

var shots = flag.String("shots", "", "write pictures of the page into this `directory`")

// TestPagePictures draws pictures for looking at them:
//
//	go test ./internal/status -run Pictures -shots DIR
func TestPagePictures(t *testing.T) {
	if *shots == "" {
		t.Skip("no directory for pictures: see -shots")
	}
	for _, n := range []int{3, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) { pictures(t, n) })
	}
	t.Run("full", picturesOfAQueue)
	t.Run("comparison", pictureOfAComparison)
}

// shootAll draws the page in light and dark, on a screen, a phone and a projector.
func (b *browser) shootAll(name string) {
	for _, how := range []struct {
		width   int
		colours string
	}{{1200, "light"}, {1200, "dark"}, {390, "light"}, {390, "dark"}, {1920, "light"}} {
		b.look(how.width, how.colours, "no-preference")
		b.eval("new Promise((done) => setTimeout(done, 400))", nil) // the layout and the dots follow
		b.shoot(filepath.Join(*shots, fmt.Sprintf("%s-%s-%d.png", name, how.colours, how.width)), "footer")
	}
}

func pictures(t *testing.T, n int) {
	b := openBrowser(t)
	l := startLabOf(t, n, 0, noOrders, 500*time.Millisecond, 100*time.Millisecond)
	b.look(1200, "light", "no-preference")
	b.visit(l.page)
	name := func(scene string) string { return fmt.Sprintf("%s-%d", scene, n) }
	b.await(`document.querySelector("#link-text").textContent === "live"`)
	b.shootAll(name("idle"))
	stop := l.paced(20)
	answered := func(n int) {
		b.await(fmt.Sprintf(`Number(document.querySelector("#answered").textContent.replace(",", "")) > %d`, n))
	}
	for _, n := range []int{200, 400} {
		answered(n)
	}
	b.shootAll(name("load"))
	l.ask("AppID:<b>Longer</b>:round_robin")
	if n == 3 {
		l.stops["Worker-2"]()
		b.await(`document.querySelector('#stops [data-at="Worker-2"]').dataset.state === "cooling down"`)
	}
	if n > 3 {
		if _, err := l.pool.Drain("Worker-2"); err != nil {
			t.Fatal(err)
		}
		b.await(`document.querySelector('#stops [data-at="Worker-2"]').dataset.state === "drained"`)
		b.eval(`document.querySelector('#stops [data-at="Worker-2"] button').click()`, nil)
	}
	b.shootAll(name("down"))
	stop()
	l.stops["page"]()
	b.await(`!document.querySelector("#lost").hidden`)
	b.shootAll(name("lost"))
}

// picturesOfAQueue has the workers full, and the buttons there.
func picturesOfAQueue(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 2, fakedRuns, 2*time.Second, 400*time.Millisecond)
	b.look(1200, "light", "no-preference")
	b.visit(l.page)
	b.await(`document.querySelector("#link-text").textContent === "live"`)
	l.load(40)
	b.await(`Number(document.querySelector("#queue-now").textContent) > 10 && Number(document.querySelector("#answered").textContent) > 20`)
	b.shootAll("full-3")
}

// pictureOfAComparison has workers that do one job at a time, as make lab has.
func pictureOfAComparison(t *testing.T) {
	b := openBrowser(t)
	l := startLabOf(t, 3, 0, realRuns, 0, 0)
	for _, w := range l.json().Workers {
		l.stops[w.Name]()
		slow := worker.Worker{
			Work:  [protocol.NumTypes]time.Duration{protocol.Long: 2 * time.Second, protocol.Short: 400 * time.Millisecond},
			Slots: 1, Observer: console.Off{},
		}
		l.serve(w.Name, w.Addr, slow.Handle)
	}
	b.watching(l)
	b.await(`document.querySelector("#compare")`)
	b.eval(`document.querySelector("#rate-of").value = 2`, nil)
	b.eval(`document.querySelector("#rate-of").dispatchEvent(new Event("input"))`, nil)
	b.click("#compare")
	progress := func(pattern string) {
		b.await(fmt.Sprintf(`/%s/.test(document.querySelector("#progress").textContent)`, pattern))
	}
	progress("Round robin: 2. of")
	b.shootAll("comparing")
	for _, pattern := range []string{"Round robin: 30", "Round robin: .* 2[6-9] answered", "Least connections", "Least connections: 2. of"} {
		progress(pattern)
	}
	progress("Least connections: .* (2[4-9]|30) answered")
	progress("^Over")
	b.shootAll("compared")
}
