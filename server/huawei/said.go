package huawei

import (
	"net"
	"net/netip"
)

// said is what the last request said of itself that most requests of a client
// say alike. Its texts are taken again where the next one says the same, so that
// they are allocated only when they change. Nothing of it is a secret: it stands
// in traces.
type said struct {
	source      address
	agent, path repeated
}

// repeated is a text that often comes again.
type repeated struct{ text string }

// of returns b as a text of its own.
func (r *repeated) of(b []byte) string {
	if r.text != string(b) { // compares without allocating
		r.text = string(b)
	}
	return r.text
}

// address is an IP address that often comes again, and its text.
type address struct {
	ip   netip.Addr
	text string
}

// of returns the text of an address, as [net.IP.String] has it.
func (a *address) of(ip net.IP) string {
	if now, ok := netip.AddrFromSlice(ip); !ok || now != a.ip {
		a.ip, a.text = now, ip.String()
	}
	return a.text
}
