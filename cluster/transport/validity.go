package transport

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// ValidityError means that all is well with a certificate but the time: either
// this node's clock is wrong, or the certificate is too old or too new.
type ValidityError struct {
	Clock       time.Time // what this node's clock showed
	From, Until time.Time
}

// Error names the three times, which tell whoever reads it which is wrong.
func (e *ValidityError) Error() string {
	return fmt.Sprintf("this node's clock shows %s, and the certificate is valid from %s to %s", stamp(e.Clock), stamp(e.From), stamp(e.Until))
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// timely makes a [ValidityError] of what crypto/x509 says of a certificate out of
// its time, which leaves open whether it has run out or is not valid yet.
func timely(err error) error {
	invalid, is := errors.AsType[x509.CertificateInvalidError](err)
	if !is || invalid.Reason != x509.Expired {
		return err
	}
	return &ValidityError{Clock: time.Now(), From: invalid.Cert.NotBefore, Until: invalid.Cert.NotAfter}
}
