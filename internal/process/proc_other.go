//go:build !linux

package process

func resident() int64 { return 0 }
func openFiles() int  { return 0 }
