package status_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
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
	quit    func()      // ends it, and waits for that
}

// openBrowser starts a Chromium of its own for the test, or skips the test if
// there is none.
func openBrowser(t *testing.T) *browser {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("no browser is driven on Windows: it has no way to pass pipes on")
	}
	b, target := startBrowser(t)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", args{"targetId": target, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.enable", args{}, nil)
	b.call("Page.addScriptToEvaluateOnNewDocument", args{"source": patient}, nil)
	return b
}

// starts is how many times a browser is started at most.
const starts = 3

// startBrowser starts a Chromium and opens a tab. Now and then one ends by itself
// before it has a tab: that is not the page's fault, and so another one is started.
func startBrowser(t *testing.T) (b *browser, target string) {
	t.Helper()
	var err error
	for range starts {
		b, said := launch(t)
		var created struct{ TargetID string }
		if err = b.try("Target.createTarget", args{"url": "about:blank"}, &created); err == nil {
			return b, created.TargetID
		}
		b.quit()
		err = fmt.Errorf("%w; it says:\n%s", err, said)
		t.Log(err)
	}
	t.Fatalf("no browser of %d has opened a tab: %v", starts, err)
	return nil, ""
}

// launch starts a Chromium, which ends with the test at the latest. What it has said
// is to be read when it has quit.
func launch(t *testing.T) (b *browser, said *bytes.Buffer) {
	t.Helper()
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
	said = new(bytes.Buffer)
	cmd.Stderr, cmd.WaitDelay = said, time.Second // its helpers may have it open for longer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	theirOutput.Close()
	b = &browser{t: t, to: to, from: bufio.NewReader(from), hung: time.AfterFunc(2*enough, func() { cmd.Process.Kill() })}
	b.quit = sync.OnceFunc(func() {
		defer b.hung.Stop()
		b.session = ""
		fmt.Fprintf(to, `{"id":1,"method":"Browser.close"}`+"\x00")
		_ = cmd.Wait()
	})
	t.Cleanup(b.quit)
	return b, said
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
	if err := b.try(method, params, result); err != nil {
		b.t.Fatal(err)
	}
}

// try is call for what may fail.
func (b *browser) try(method string, params args, result any) error {
	b.last++
	b.hung.Reset(2 * enough)
	message := args{"id": b.last, "method": method, "params": params}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	reply, err := b.reply(b.last)
	if err == nil && result != nil {
		err = json.Unmarshal(reply, result)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// reply waits for the result of the call with that number.
func (b *browser) reply(id int) (json.RawMessage, error) {
	for {
		line, err := b.from.ReadBytes(0)
		if err != nil {
			return nil, fmt.Errorf("the browser is gone: %w", err)
		}
		var reply struct {
			ID     int
			Error  *struct{ Message string }
			Result json.RawMessage
		}
		if err := json.Unmarshal(line[:len(line)-1], &reply); err != nil {
			return nil, err
		}
		switch {
		case reply.ID != id:
		case reply.Error != nil:
			return nil, errors.New(reply.Error.Message)
		default:
			return reply.Result, nil
		}
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
