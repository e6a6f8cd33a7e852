package transport

import (
	"encoding/json"
	"errors"
)

// Codes of a [RemoteError]. Rooms above add their own.
const (
	CodeInternal      = "internal"       // the handler failed; the reason stays in its log
	CodeInvalid       = "invalid"        // the request makes no sense to the handler
	CodeBusy          = "busy"           // not now, and nothing was done
	CodeUnknownMethod = "unknown_method" // nothing was done
)

// RemoteError is an error that is told to the other side: a handler returns it,
// and the caller gets it. Its words must hold nothing secret.
type RemoteError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Node    string `json:"node,omitempty"` // a node that the code speaks of
}

func (e *RemoteError) Error() string { return e.Message }

// EncodeError is the form in which a handler's error travels: a [RemoteError]
// as it is, anything else stripped of its words, which internal is given.
func EncodeError(err error, internal func(error)) []byte {
	var remote *RemoteError
	if !errors.As(err, &remote) {
		internal(err)
		remote = &RemoteError{Code: CodeInternal, Message: "internal error"}
	}
	encoded, err := json.Marshal(remote)
	if err != nil { // two strings: cannot be
		return []byte(`{"code":"internal"}`)
	}
	return encoded
}

// DecodeError is the [RemoteError] that EncodeError encoded.
func DecodeError(encoded []byte) error {
	remote := new(RemoteError)
	if err := json.Unmarshal(encoded, remote); err != nil || remote.Code == "" {
		return &RemoteError{Code: CodeInternal, Message: "the peer's error cannot be read"}
	}
	return remote
}
