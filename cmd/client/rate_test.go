package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"balancelab/internal/protocol"
)

// The run of BenchmarkRate.
const (
	benchRate     = 10_000
	benchRequests = 2 * benchRate
)

// asProgram names what the test binary is when it is started by a benchmark.
const asProgram = "CLIENT_BENCHMARK_AS"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "client":
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	case "bare":
		bare(os.Args[1])
	default:
		os.Exit(m.Run())
	}
}

// bare is a load run as anybody would write it first, for comparison.
func bare(addr string) {
	var requests sync.WaitGroup
	start := time.Now()
	for i := range benchRequests {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / benchRate)))
		requests.Go(func() {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				panic(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, "AppID:Short:round_robin")
			if answer, err := io.ReadAll(conn); err != nil || len(answer) == 0 {
				panic(fmt.Sprint(answer, err))
			}
		})
	}
	requests.Wait()
}

// BenchmarkRate sends 10,000 requests a second for two seconds, from a process
// of its own, and then does the same with the bare client. It reports the CPU
// time of both for one request, their ratio, by how much the client missed the
// rate, and how many of its requests began more than 10 ms late. It means
// something on a machine that does nothing else.
func BenchmarkRate(b *testing.B) {
	var client, bare time.Duration
	missed, late := 0.0, int64(0)
	for b.Loop() {
		cpu, report := runAs(b, "client", func(addr string) []string {
			return []string{"-broker", addr, "-n", strconv.Itoa(benchRequests), "-rate", strconv.Itoa(benchRate), "-q", "-json", "Short", "round_robin"}
		})
		rate := result{stdout: report}.report(b).Rate
		missed = max(missed, math.Abs(rate.Achieved/benchRate-1))
		late += rate.Late
		client += cpu
		cpu, _ = runAs(b, "bare", func(addr string) []string { return []string{addr} })
		bare += cpu
	}
	perRequest := func(cpu time.Duration) float64 {
		return float64(cpu.Microseconds()) / float64(b.N) / benchRequests
	}
	b.ReportMetric(perRequest(client), "client-µs/request")
	b.ReportMetric(perRequest(bare), "bare-µs/request")
	b.ReportMetric(client.Seconds()/bare.Seconds(), "client/bare")
	b.ReportMetric(100*missed, "%-off-the-rate")
	b.ReportMetric(float64(late)/float64(b.N), "late-starts/op")
}

// runAs runs a program against a new server that answers at once, and returns
// the CPU time of its process and what it printed.
func runAs(b *testing.B, program string, args func(addr string) []string) (cpu time.Duration, stdout string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go answerAll(l)
	cmd := exec.Command(os.Args[0], args(l.Addr().String())...)
	cmd.Env = append(os.Environ(), asProgram+"="+program)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		b.Fatalf("%s: %v\n%s%s", program, err, &out, &errs)
	}
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), out.String()
}

// answerAll answers every request that comes to l, until l is closed.
func answerAll(l net.Listener) {
	for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
		go func() {
			_, _ = protocol.ReadRequest(conn) // unread, it would reset the connection
			_, _ = io.WriteString(conn, protocol.Response)
			conn.Close()
		}()
	}
}
