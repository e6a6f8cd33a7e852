package huawei

import (
	"net"
	"testing"
)

func TestTextsOfTheRequestBefore(t *testing.T) {
	var s said
	buffer := []byte("one")
	first := s.agent.of(buffer)
	copy(buffer, "two") // what fasthttp does with the next request
	if second := s.agent.of(buffer); first != "one" || second != "two" {
		t.Errorf("%q, then %q", first, second)
	}
	if got := s.agent.of(nil); got != "" {
		t.Errorf("of nobody: %q", got)
	}

	f := func(ip net.IP, want string) {
		t.Helper()
		for range 2 {
			if got := s.source.of(ip); got != want {
				t.Errorf("%v: %q", []byte(ip), got)
			}
		}
	}
	f(net.IPv4(192, 0, 2, 1), "192.0.2.1") // 16 bytes
	f(net.IPv4(192, 0, 2, 1).To4(), "192.0.2.1")
	f(net.IPv4(192, 0, 2, 2).To4(), "192.0.2.2")
	f(net.ParseIP("2001:db8::1"), "2001:db8::1")
	f(nil, net.IP(nil).String())
	f(net.IPv4(192, 0, 2, 2).To4(), "192.0.2.2")
}
