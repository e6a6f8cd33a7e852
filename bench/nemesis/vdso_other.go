//go:build !amd64

package nemesis

import (
	"errors"
	"time"
)

var errClockCode = errors.New("there is no code for this processor by which a process's clock can be shifted")

func clockTrouble() error { return errClockCode }

func setClock(int, time.Duration) error { return errClockCode }
