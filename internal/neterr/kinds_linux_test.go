package neterr

import "testing"

// The words of this package are those of Linux.
func TestWords(t *testing.T) {
	for errno, kind := range kinds {
		if text := kind.String(); text != "" && text != errno.Error() {
			t.Errorf("number %d reads %q, and the system says %q", errno, text, errno.Error())
		}
	}
}
