package main

import "os/exec"

// opener returns what opens a URL in the browser.
func opener(url string) *exec.Cmd {
	return exec.Command("rundll32", "url.dll,FileProtocolHandler", url)
}
