//go:build !unix

package cli

// OpenFiles returns how many files this process may have open, if there is a
// limit.
func OpenFiles() (limit int, ok bool) { return 0, false }
