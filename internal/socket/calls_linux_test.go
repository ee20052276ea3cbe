//go:build !386 && !s390x

package socket

import (
	"net/netip"
	"testing"
)

// An address comes back from the kernel's form as it was. IPv4 in the form of IPv6 is
// IPv4, and a zone is its number.
func TestKernelAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"127.0.0.1:9002":          "127.0.0.1:9002",
		"255.254.253.252:65535":   "255.254.253.252:65535",
		"[::1]:1":                 "[::1]:1",
		"[2001:db8::1:ff]:256":    "[2001:db8::1:ff]:256",
		"[::ffff:192.0.2.1]:8000": "192.0.2.1:8000",
	} {
		var sa sockaddr
		sa.set(netip.MustParseAddrPort(text))
		if got := sa.addrPort().String(); got != want {
			t.Errorf("%s comes back as %s, want %s", text, got, want)
		}
	}
	var sa sockaddr
	sa.set(netip.MustParseAddrPort("[fe80::1]:80"))
	sa[24] = 3 // on little and big endian machines alike this is a zone
	if got := sa.addrPort().Addr().Zone(); got != "3" && got != "50331648" {
		t.Errorf("the zone is %q", got)
	}
	if got := new(sockaddr).addrPort(); got.IsValid() {
		t.Errorf("of no address: %v", got)
	}
}
