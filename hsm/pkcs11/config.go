package pkcs11

import (
	"errors"
	"log/slog"
	"runtime"
	"time"
)

// Config says which token to use and how.
type Config struct {
	// Library is the path of the vendor's PKCS#11 library. Required.
	Library string
	// TokenLabel is the label of the token (partition, slot) to use. Required.
	TokenLabel string
	// Serial tells tokens with the same label apart; empty when there is one.
	Serial string
	// PIN returns the user PIN. It is called at every login: when the module is
	// opened, after ExportRoots, and after the device was lost. The slice is
	// wiped after use, so it must be the module's own. Required.
	PIN func() ([]byte, error)
	// Sessions is how many calls may be inside the device at once; 0 means
	// [DefaultSessions]. Five more sessions are held besides.
	Sessions int
	// CallTimeout is how long a call waits for a session, and how long Close
	// waits for calls inside the device; 0 means 10 seconds.
	CallTimeout time.Duration
	// CallLimit is how long a call may be inside the device before the device
	// counts as gone: calls then fail at once, until it has answered and could
	// be logged in to again. 0 means 10 seconds. What makes key pairs is given
	// twelve times as much. A device that has a call inside, and of which nothing
	// at all comes out, counts as gone after a quarter of it, and a second at least.
	CallLimit time.Duration
	// OpenLimit is how long Open, and Diagnose until it has the token open, wait
	// for the library, from the first call of it; 0 means 30 seconds. Below 0
	// there is no limit, for who opens it in a goroutine of its own.
	OpenLimit time.Duration
	// Hung is told, once, when a call has been inside for six times its limit.
	// A call in C cannot be ended, nor its library unloaded below it: only the
	// end of the process frees its thread and its session. Nil means nobody.
	Hung func(err error)
	// LockedMemory bounds the memory for SOFTWARE level keys, in bytes (512 a
	// key); 0 means 64 MiB.
	LockedMemory int
	// Logger receives what an operator should know; nil means nobody.
	Logger *slog.Logger
}

// DefaultSessions is twice the processors that Go's scheduler has now, at least 4.
func DefaultSessions() int { return max(4, 2*runtime.GOMAXPROCS(0)) }

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Library == "":
		return c, errors.New("no PKCS#11 library is configured")
	case c.TokenLabel == "":
		return c, errors.New("no token label is configured")
	case c.PIN == nil:
		return c, errors.New("no source of the user PIN is configured")
	case c.Sessions < 0, c.CallTimeout < 0, c.CallLimit < 0, c.LockedMemory < 0:
		return c, errors.New("sessions, call timeout, call limit and locked memory must not be negative")
	}
	if c.Sessions == 0 {
		c.Sessions = DefaultSessions()
	}
	if c.CallTimeout == 0 {
		c.CallTimeout = 10 * time.Second
	}
	if c.CallLimit == 0 {
		c.CallLimit = 10 * time.Second
	}
	if c.OpenLimit == 0 {
		c.OpenLimit = 30 * time.Second
	}
	if c.LockedMemory == 0 {
		c.LockedMemory = 64 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, nil
}
