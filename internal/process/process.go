// Package process tells what the system and the runtime know of this process:
// its CPU time, its memory, its open files. What a system does not say is left
// out, and not guessed:
//
//	                      Linux   macOS   Windows
//	CPU time              yes     yes     yes
//	resident memory       yes     –       –
//	open files            yes     –       –
//	limit on open files   yes     yes     –
//
// The runtime has figures of its own for some of these, but they are estimates
// of something else: its memory is not what is resident, and its CPU time is
// known only up to the latest garbage collection.
package process

import (
	"runtime"
	"time"
)

// started is when this package was initialized: a few milliseconds after the
// process began.
var started = time.Now()

// A Usage is what is known of this process at one moment. What is 0 is not
// known.
type Usage struct {
	Started    time.Time
	CPU        time.Duration // user and system, since the start
	Resident   int64         // bytes of memory
	OpenFiles  int
	MaxFiles   int // the limit on OpenFiles; 0 if there is none, too
	Goroutines int
}

// Read asks the system. On Linux that takes longer the more files are open: a
// few milliseconds for ten thousand.
func Read() Usage {
	u := Usage{Started: started, CPU: cpu(), Resident: resident(), OpenFiles: openFiles(), Goroutines: runtime.NumGoroutine()}
	u.MaxFiles, _ = MaxFiles()
	return u
}
