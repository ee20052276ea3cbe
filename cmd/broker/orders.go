package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"balancelab/internal/balance"
	"balancelab/internal/cli"
	"balancelab/internal/control"
)

// workersUsage is what "broker workers -h" prints. The same text stands in
// cmd/README.md.
const workersUsage = `usage: broker workers [-status addr] [order]

Without an order it lists the workers of a broker that runs with -control.

  -status addr          the broker's live page (default 127.0.0.1:8080)

  add host:port         add a worker; host:port=3 with a weight of 3,
                        host:port=3/10 also with 10 requests at once at most
  drain [-wait] name    give it nothing new; what is in flight goes on
  up name               give it requests again
  weight name n         another weight, from 1 to 1000
  limit name n          at most n requests at once; 0 for any number
  remove [-wait] name   drain it, and remove it when nothing is in flight there

Orders are answered at once. With -wait, drain and remove return when nothing is
in flight there any more: then the worker can be stopped.

example: broker workers drain -wait Worker-2
`

// An order is one that is being given.
type order struct {
	*control.Client
	line *cli.Line
	args []string // what stands behind the word
	wait bool
}

// A word is one that "broker workers" knows.
type word struct {
	names []string // of its arguments
	waits bool     // it has -wait
	// check returns what is wrong with the arguments; nil if that is nothing ever.
	check func(args []string) error
	give  func(ctx context.Context, o *order) error
}

var words = map[string]word{
	"add":    {names: []string{"host:port"}, check: checkWorker, give: add},
	"drain":  {names: []string{"name"}, waits: true, give: drain},
	"up":     {names: []string{"name"}, give: up},
	"weight": {names: []string{"name", "n"}, check: checkNumber(control.CheckWeight), give: weight},
	"limit":  {names: []string{"name", "n"}, check: checkNumber(control.CheckLimit), give: limit},
	"remove": {names: []string{"name"}, waits: true, give: remove},
}

// runWorkers is "broker workers".
func runWorkers(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	line := cli.NewLine("broker workers", workersUsage, stdout, stderr)
	addr := line.String("status", "127.0.0.1:8080", "")
	if code, ok := line.ParseFlags(args); !ok {
		return code
	}
	if err := cli.CheckDial(*addr); err != nil {
		return line.Wrong("-status: %v", err)
	}
	client := &control.Client{Addr: *addr}
	if line.NArg() == 0 {
		return list(ctx, client, line)
	}
	w, known := words[line.Arg(0)]
	if !known {
		return line.Wrong("%q is no order: want add, drain, up, weight, limit or remove", line.Arg(0))
	}
	o := &order{Client: client, line: cli.NewLine("broker workers "+line.Arg(0), workersUsage, stdout, stderr)}
	if w.waits {
		o.line.BoolVar(&o.wait, "wait", false, "")
	}
	if code, ok := o.line.Parse(line.Args()[1:], w.names...); !ok {
		return code
	}
	o.args = o.line.Args()
	if w.check != nil {
		if err := w.check(o.args); err != nil {
			return o.line.Wrong("%v", err)
		}
	}
	if err := w.give(ctx, o); err != nil {
		return o.line.Fail(err)
	}
	return cli.OK
}

// list shows all workers as a table.
func list(ctx context.Context, client *control.Client, line *cli.Line) int {
	all, err := client.Workers(ctx)
	if err != nil {
		return line.Fail(err)
	}
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "name\taddress\tstate\tweight\tlimit\tin flight")
	for _, w := range all {
		most := "none"
		if w.Limit > 0 {
			most = strconv.Itoa(w.Limit)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%d\n", w.Name, w.Addr, w.State, w.Weight, most, w.InFlight)
	}
	table.Flush() // into memory
	return line.Print(text.String())
}

// say prints what an order has come to.
func (o *order) say(format string, args ...any) error {
	if o.line.Print(fmt.Sprintf(format, args...)+"\n") != cli.OK {
		return errors.New("the order was given, and its answer could not be shown")
	}
	return nil
}

func checkWorker(args []string) error {
	_, err := control.ParseWorker(args[0], 0)
	return err
}

// checkNumber returns what checks the second argument.
func checkNumber(check func(int) error) func(args []string) error {
	return func(args []string) error {
		n, err := strconv.Atoi(args[1])
		if err != nil {
			return fmt.Errorf("%q is no whole number", args[1])
		}
		return check(n)
	}
}

// number returns the second argument, which was checked.
func (o *order) number() *int {
	n, _ := strconv.Atoi(o.args[1])
	return &n
}

// add leaves out what the argument leaves out: the broker knows its own limit.
func add(ctx context.Context, o *order) error {
	const unset = -1
	parsed, err := control.ParseWorker(o.args[0], unset)
	if err != nil {
		return err
	}
	worker := control.New{Addr: parsed.Addr, Weight: &parsed.Weight}
	if parsed.Limit != unset {
		worker.Limit = &parsed.Limit
	}
	w, err := o.Add(ctx, worker)
	if err != nil {
		return err
	}
	return o.say("%s is added: %s, weight %d, %s", w.Name, w.Addr, w.Weight, limitOf(w))
}

func limitOf(w control.Worker) string {
	switch w.Limit {
	case 0:
		return "no limit"
	case 1:
		return "at most 1 request at once"
	}
	return fmt.Sprintf("at most %d requests at once", w.Limit)
}

func drain(ctx context.Context, o *order) error {
	w, err := o.Change(ctx, o.args[0], control.Change{State: control.Draining})
	if err != nil {
		return err
	}
	if w.InFlight > 0 {
		if err := o.say("%s drains; %s in flight there", w.Name, are(w.InFlight)); err != nil || !o.wait {
			return err
		}
		if err := o.Drained(ctx, w.Name, false); err != nil {
			return err
		}
	}
	return o.say("%s has drained", w.Name)
}

func remove(ctx context.Context, o *order) error {
	w, err := o.Remove(ctx, o.args[0])
	if err != nil {
		return err
	}
	if w.State != balance.Removed.String() {
		if err := o.say("%s drains, and is removed then; %s in flight there", w.Name, are(w.InFlight)); err != nil || !o.wait {
			return err
		}
		if err := o.Drained(ctx, w.Name, true); err != nil {
			return err
		}
	}
	return o.say("%s is removed", w.Name)
}

// are returns "1 request is", or that of several.
func are(n int) string {
	if n == 1 {
		return "1 request is"
	}
	return fmt.Sprintf("%d requests are", n)
}

func up(ctx context.Context, o *order) error {
	w, err := o.Change(ctx, o.args[0], control.Change{State: control.Up})
	if err != nil {
		return err
	}
	if w.State != control.Up {
		return o.say("%s drains no longer; it is %s", w.Name, w.State)
	}
	return o.say("%s is up", w.Name)
}

func weight(ctx context.Context, o *order) error {
	w, err := o.Change(ctx, o.args[0], control.Change{Weight: o.number()})
	if err != nil {
		return err
	}
	return o.say("%s has a weight of %d", w.Name, w.Weight)
}

func limit(ctx context.Context, o *order) error {
	w, err := o.Change(ctx, o.args[0], control.Change{Limit: o.number()})
	if err != nil {
		return err
	}
	return o.say("%s gets %s", w.Name, strings.Replace(limitOf(w), "no limit", "any number of requests at once", 1))
}
