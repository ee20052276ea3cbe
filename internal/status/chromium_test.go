package status_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"balancelab/internal/programs"
)

// A browser is one tab of a headless Chromium. It is driven through a pipe (no
// port, no websocket): a message is JSON and ends with a zero byte.
type browser struct {
	t       *testing.T
	to      io.Writer
	from    *bufio.Reader
	session string
	last    int
	hung    *time.Timer // kills the browser, unless it replies meanwhile
}

// openBrowser starts a Chromium of its own for the test, or skips the test if
// there is none.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no browser is driven on Windows: it has no way to pass pipes on")
	}
	dir, err := os.MkdirTemp("", "chromium")
	if err != nil {
		t.Fatal(err)
	}
	// Chromium's helpers may still write when it has ended.
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cmd := exec.Command(chromium(t), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
		"--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir="+dir, "--remote-debugging-pipe")
	theirs, to := pipe(t)
	from, theirOutput := pipe(t)
	cmd.ExtraFiles = []*os.File{theirs, theirOutput} // 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	theirOutput.Close()
	b := &browser{t: t, to: to, from: bufio.NewReader(from), hung: time.AfterFunc(2*enough, func() { cmd.Process.Kill() })}
	t.Cleanup(func() {
		defer b.hung.Stop()
		b.session = ""
		fmt.Fprintf(to, `{"id":1,"method":"Browser.close"}`+"\x00")
		_ = cmd.Wait()
	})
	var target struct{ TargetID string }
	b.call("Target.createTarget", args{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", args{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", args{}, nil)
	b.call("Page.addScriptToEvaluateOnNewDocument", args{"source": patient}, nil)
	return b
}

// enough is how long a test waits for what must come: only one that fails needs
// all of it.
const enough = programs.Patience

// patient is a script that has a page wait longer for the broker: on a busy
// machine an answer may take longer than a page waits for it. A test can set
// anew how many times as long.
const patient = `{
	const timeout = AbortSignal.timeout.bind(AbortSignal);
	window.patience = 20;
	AbortSignal.timeout = (ms) => timeout(window.patience * ms);
}`

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("Chromium is not installed")
	return ""
}

func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

type args map[string]any

// call calls a method of the DevTools protocol and waits for its result;
// events in between are dropped.
func (b *browser) call(method string, params args, result any) {
	b.t.Helper()
	b.last++
	b.hung.Reset(2 * enough)
	message := args{"id": b.last, "method": method, "params": params}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatalf("%s: %v", method, err)
	}
	for {
		line, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: the browser is gone: %v", method, err)
		}
		var reply struct {
			ID     int
			Error  *struct{ Message string }
			Result json.RawMessage
		}
		if err := json.Unmarshal(line[:len(line)-1], &reply); err != nil {
			b.t.Fatalf("%s: %v", method, err)
		}
		if reply.ID != b.last {
			continue
		}
		if reply.Error != nil {
			b.t.Fatalf("%s: %s", method, reply.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(reply.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
		return
	}
}

// eval evaluates JavaScript, or waits for the promise that it is, and stores
// the value in result.
func (b *browser) eval(script string, result any) {
	b.t.Helper()
	var reply struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description, Value any }
		}
	}
	b.call("Runtime.evaluate", args{"expression": script, "awaitPromise": true, "returnByValue": true}, &reply)
	if e := reply.ExceptionDetails; e != nil {
		b.t.Fatalf("%s: %s %v %v", script, e.Text, e.Exception.Description, e.Exception.Value)
	}
	if result != nil {
		if err := json.Unmarshal(reply.Result.Value, result); err != nil {
			b.t.Fatalf("%s: %v", script, err)
		}
	}
}

// text returns the text of the first element that a CSS selector finds.
func (b *browser) text(selector string) (s string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("document.querySelector(%q).textContent", selector), &s)
	return s
}

// await waits until a JavaScript condition is true in the page.
func (b *browser) await(condition string) {
	b.t.Helper()
	var got string
	b.eval(`new Promise((done) => {
		const end = Date.now() + `+fmt.Sprint(enough.Milliseconds())+`;
		const look = () => {
			let yes = false;
			try { yes = `+condition+` } catch {}
			if (yes) done("");
			else if (Date.now() > end) done(document.body.innerText);
			else setTimeout(look, 20);
		};
		look();
	})`, &got)
	if got != "" {
		b.t.Fatalf("waited for %s; the page says:\n%s", condition, got)
	}
}

// visit opens a page; its script need not have run yet.
func (b *browser) visit(url string) {
	b.t.Helper()
	var reply struct{ LoaderID, ErrorText string }
	b.call("Page.navigate", args{"url": url}, &reply)
	if reply.ErrorText != "" {
		b.t.Fatalf("%s: %s", url, reply.ErrorText)
	}
	// The reply may come before the page: what is evaluated then would still be
	// evaluated in the page before it, or be lost with that.
	for {
		var tree struct {
			FrameTree struct{ Frame struct{ LoaderID string } }
		}
		b.call("Page.getFrameTree", args{}, &tree)
		if tree.FrameTree.Frame.LoaderID == reply.LoaderID {
			return
		}
	}
}

// look sets how the page is looked at: the window's width and the system's
// colours and motion.
func (b *browser) look(width int, colours, motion string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", args{
		"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500,
	}, nil)
	b.call("Emulation.setEmulatedMedia", args{"features": []args{
		{"name": "prefers-color-scheme", "value": colours},
		{"name": "prefers-reduced-motion", "value": motion},
	}}, nil)
}

// shoot writes a picture of the page, as far down as the element last, into a
// file.
func (b *browser) shoot(path, last string) {
	b.t.Helper()
	var width, height float64
	b.eval("document.documentElement.clientWidth", &width)
	b.eval(fmt.Sprintf("(document.querySelector(%q).closest('section, footer')).getBoundingClientRect().bottom + scrollY + 16", last), &height)
	var reply struct{ Data string }
	b.call("Page.captureScreenshot", args{
		"format": "png", "captureBeyondViewport": true,
		"clip": args{"x": 0, "y": 0, "width": width, "height": height, "scale": 1},
	}, &reply)
	png, err := base64.StdEncoding.DecodeString(reply.Data)
	if err == nil {
		err = os.WriteFile(path, png, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// tree returns what a screen reader gets: a line for each role and name.
func (b *browser) tree() string {
	b.t.Helper()
	var reply struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
		}
	}
	b.call("Accessibility.getFullAXTree", args{}, &reply)
	var lines strings.Builder
	for _, n := range reply.Nodes {
		if !n.Ignored {
			fmt.Fprintf(&lines, "%v %q\n", n.Role.Value, n.Name.Value)
		}
	}
	return lines.String()
}
