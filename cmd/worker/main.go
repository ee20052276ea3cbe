// Worker does the jobs that the broker sends it. Its usage is the text below,
// and stands in cmd/README.md.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"balancelab/internal/cli"
	"balancelab/internal/console"
	"balancelab/internal/protocol"
	"balancelab/internal/server"
	"balancelab/internal/socket"
	"balancelab/internal/worker"
)

// usage is what -h prints. The same text stands in cmd/README.md, and a test of
// internal/e2e compares the two.
const usage = `usage: worker [flags] <id>

  <id>  1, 2, 3, ...: the worker's number

  -listen addr         where to listen (default 127.0.0.1, port 9001+id)
  -long time           how long a Long job takes (default 5s)
  -short time          how long a Short job takes (default 1s)
  -slots n             how many jobs at once; more wait their turn, first come
                       first served (default 0: no limit)
  -drain-timeout time  how long the first Ctrl-C waits for jobs (default 30s)
  -log format          text, json or off (default text)
  -version             print the version and exit

example: worker 1
`

// firstPort is the port before Worker-1's.
const firstPort = 9001

func main() { cli.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("worker", usage, stdout, stderr)
	f, code, ok := parseFlags(line, args)
	if !ok {
		return code
	}
	log, err := newLog(f.log, stdout)
	if err != nil {
		return line.Wrong("%v", err)
	}
	defer log.Close()
	l, err := socket.Listen(ctx, f.listen)
	if err != nil {
		return line.Fail(err)
	}
	log.Listening(f.id, l.Addr())
	tellBroker(line, f.id, l.Addr().String())
	w := worker.Worker{
		Work:  [protocol.NumTypes]time.Duration{protocol.Long: f.long, protocol.Short: f.short},
		Slots: f.slots, Observer: log,
	}
	s := server.Server{
		Handle: w.Handle, MaxConns: maxConns(),
		Stopping: func(n int) time.Duration { return line.Finishing(ctx, n, "job", f.drain) },
		Paused:   log.Paused, Panicked: line.Panicked,
	}
	if err := s.Serve(ctx, l); err != nil {
		return line.Fail(err)
	}
	return cli.OK
}

// flags are what the command line says; the usage text says what each means.
type flags struct {
	id                 int
	listen, log        string
	long, short, drain time.Duration
	slots              int
}

// parseFlags reports false when the program is to exit with code.
func parseFlags(line *cli.Line, args []string) (f flags, code int, ok bool) {
	line.StringVar(&f.listen, "listen", "", "")
	line.DurationVar(&f.long, "long", 5*time.Second, "")
	line.DurationVar(&f.short, "short", time.Second, "")
	line.IntVar(&f.slots, "slots", 0, "")
	line.DurationVar(&f.drain, "drain-timeout", 30*time.Second, "")
	line.StringVar(&f.log, "log", "text", "")
	if code, ok := line.Parse(args, "id"); !ok {
		return f, code, false
	}
	const lastID = 65535 - firstPort
	id, err := strconv.Atoi(line.Arg(0))
	switch {
	case err != nil || id < 1 || id > lastID:
		return f, line.Wrong("<id> is %q, want a number from 1 to %d", line.Arg(0), lastID), false
	case min(f.long, f.short, f.drain) < 0:
		return f, line.Wrong("a time must not be negative"), false
	case line.IsSet("listen") && cli.CheckListen(f.listen) != nil:
		return f, line.Wrong("-listen: %v", cli.CheckListen(f.listen)), false
	case f.slots < 0:
		return f, line.Wrong("-slots must not be negative: %d", f.slots), false
	}
	f.id = id
	if f.listen == "" {
		f.listen = net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+id))
	}
	return f, cli.OK, true
}

// maxConns returns how many connections the limit on open files allows.
func maxConns() int {
	limit, limited := cli.OpenFiles()
	if !limited {
		return cli.AnyConns
	}
	return max(1, limit-cli.OtherFiles)
}

// known is how many workers a broker knows without being told.
const known = 3

// tellBroker says what the broker has to be told of a worker that it does not
// know. Of one that listens at every address it says nothing: which of them the
// broker can reach is not known here.
func tellBroker(line *cli.Line, id int, addr string) {
	if at, err := netip.ParseAddrPort(addr); err == nil && at.Addr().IsUnspecified() {
		return
	}
	var workers []string
	for i := 1; i <= known; i++ {
		at := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+i))
		if at == addr {
			return
		}
		workers = append(workers, at)
	}
	if id > known {
		workers = append(workers, addr)
	} else {
		workers[id-1] = addr
	}
	line.Note("tell the broker of this worker: broker -workers %s; or if it runs with -control: broker workers add %s", strings.Join(workers, ","), addr)
}

// An observer is what -log chooses.
type observer interface {
	worker.Observer
	Listening(id int, at net.Addr)
	Paused(err error, pause time.Duration)
	Close()
}

type off struct{ console.Off }

func (off) Listening(int, net.Addr) {}

func newLog(format string, w io.Writer) (observer, error) {
	switch format {
	case "text":
		return console.NewWorker(w), nil
	case "json":
		return console.NewWorkerJSON(w), nil
	case "off":
		return off{}, nil
	}
	return nil, fmt.Errorf("-log is %q, want text, json or off", format)
}
