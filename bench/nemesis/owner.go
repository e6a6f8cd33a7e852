package nemesis

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// OwnerOf finds which of the processes has the socket whose local address is
// that of a TCP connection over 127.0.0.1, in Linux's /proc. It returns nil
// when none of them has it.
func OwnerOf(address *net.TCPAddr, processes []*Process) *Process {
	inode := inodeOf(address)
	if inode == "" {
		return nil
	}
	want := "socket:[" + inode + "]"
	for _, p := range processes {
		pid := p.PID()
		if pid == 0 {
			continue
		}
		descriptors, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid)) // the pattern is well formed
		for _, d := range descriptors {
			if link, err := os.Readlink(d); err == nil && link == want {
				return p
			}
		}
	}
	return nil
}

// inodeOf is the inode of the socket with that local address.
func inodeOf(address *net.TCPAddr) string {
	ip := address.IP.To4()
	if ip == nil {
		return ""
	}
	// The address is written as the processor keeps it; all that Go and this
	// project run on keep the low byte first.
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], address.Port)
	table, err := os.Open("/proc/net/tcp")
	if err != nil {
		return ""
	}
	defer table.Close()
	for lines := bufio.NewScanner(table); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 9 && fields[1] == local && fields[9] != "0" {
			return fields[9]
		}
	}
	return ""
}
