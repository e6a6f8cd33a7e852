package target

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/raftkms/raftkms/bench/load"
)

// awsRefusals are the codes by which an AWS-style service refuses credentials
// with status 400.
var awsRefusals = []string{
	"UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignatureException", "IncompleteSignature",
	"SignatureDoesNotMatch", "InvalidClientTokenId", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
	"ExpiredTokenException", "AccessDeniedException",
}

// Explain says in a sentence why a call to host failed, and what to do about it.
func Explain(host string, err error) error {
	if alert, ok := errors.AsType[tls.AlertError](err); ok {
		return fmt.Errorf("%s ends the TLS connection (%s): does it ask for a client certificate, or another one (--certificate-file)? %w", host, alert.Error(), err)
	}
	if status, ok := errors.AsType[*load.StatusError](err); ok {
		switch {
		case status.Status == http.StatusUnauthorized, status.Status == http.StatusForbidden, slices.Contains(awsRefusals, status.Code):
			return fmt.Errorf("%s refuses the credentials, or they do not permit this call: %w", host, err)
		case status.Status == http.StatusNotFound:
			return fmt.Errorf("%s does not know the key or the address that was asked for: %w", host, err)
		}
		return fmt.Errorf("%s does not do what it is asked for: %w", host, err)
	}
	switch load.KindOf(err) {
	case load.KindRefused:
		return fmt.Errorf("nothing listens at %s: is the address right, and is the service running? %w", host, err)
	case load.KindUnreachable:
		return fmt.Errorf("%s cannot be reached: is the address right? %w", host, err)
	case load.KindNotTLS:
		return fmt.Errorf("%s does not speak TLS: it may be plain HTTP, over which nothing is sent: %w", host, err)
	case load.KindCertificate:
		return fmt.Errorf("the certificate of %s does not verify: give the file of its CA (--ca-file), and the host by a name that the certificate has: %w", host, err)
	case load.KindTimeout:
		return fmt.Errorf("%s does not answer in time: %w", host, err)
	case load.KindReset:
		return fmt.Errorf("%s closes the connection: does it ask for a client certificate (--certificate-file)? %w", host, err)
	}
	return fmt.Errorf("%s cannot be called: %w", host, err)
}
