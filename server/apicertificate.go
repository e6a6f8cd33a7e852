package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// apiCertificate is the API port's certificate where it comes from files: what
// renews it (certbot, cert-manager, an operator) writes the files, and nobody
// has to restart a node. The files are looked at when a client connects, at
// most once in recheck. A pair that cannot be used leaves the one before in
// place and is told once: whoever writes two files writes one after the other.
type apiCertificate struct {
	certificateFile, keyFile string
	recheck                  time.Duration
	log                      *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	read    [2]fs.FileInfo // of the files when they were read last, in use or not
	looked  time.Time
}

// apiRecheck is how long a certificate that was replaced in its file may still be served.
const apiRecheck = 10 * time.Second

// newAPICertificate reads the files, which must be a pair.
func newAPICertificate(certificateFile, keyFile string, log *slog.Logger) (*apiCertificate, error) {
	a := &apiCertificate{certificateFile: certificateFile, keyFile: keyFile, recheck: apiRecheck, log: log}
	read, err := a.stat()
	if err == nil {
		a.current, err = a.load()
	}
	if err != nil {
		return nil, fmt.Errorf("loading the API's certificate: %w", err)
	}
	a.read, a.looked = read, time.Now()
	return a, nil
}

// get fits tls.Config.GetCertificate.
func (a *apiCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); now.Sub(a.looked) >= a.recheck {
		a.looked = now
		a.look()
	}
	return a.current, nil
}

// look takes a pair that has changed. What is kept of the files is from before
// they are read: what is written meanwhile is read at the next look.
func (a *apiCertificate) look() {
	found, err := a.stat()
	if errors.Is(err, fs.ErrNotExist) {
		return // between a removal and the next write
	}
	if err == nil && sameFile(found[0], a.read[0]) && sameFile(found[1], a.read[1]) {
		return
	}
	var next *tls.Certificate
	if err == nil {
		a.read = found
		next, err = a.load()
	}
	if err != nil {
		a.log.Warn("the API's certificate files have changed and cannot be used; the certificate from before is served on",
			"certificate_file", a.certificateFile, "expires", a.current.Leaf.NotAfter, "error", err)
		return
	}
	a.current = next
	a.log.Info("the API serves another certificate", "certificate_file", a.certificateFile, "expires", next.Leaf.NotAfter)
}

func (a *apiCertificate) stat() (found [2]fs.FileInfo, err error) {
	for i, path := range []string{a.certificateFile, a.keyFile} {
		if found[i], err = os.Stat(path); err != nil {
			return found, err
		}
	}
	return found, nil
}

// sameFile says whether nothing was written between two looks at a path.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (a *apiCertificate) load() (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(a.certificateFile, a.keyFile)
	return &pair, err
}

// expires is the end of the certificate that is served.
func (a *apiCertificate) expires() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.current.Leaf.NotAfter
}
