package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// slowPatience is how long a connection sends slowly: somewhat longer than the
// 15 s within which a request has to arrive.
const slowPatience = 20 * time.Second

// closings are how many connections the other side has closed, and how long
// after it was opened the last of them was.
type closings struct {
	count int
	last  time.Duration
}

func (c *closings) add(other closings) {
	c.count += other.count
	c.last = max(c.last, other.last)
}

// slowSenders are connections that send a byte of a request every so often.
type slowSenders struct {
	stop context.CancelFunc
	all  sync.WaitGroup

	mu     sync.Mutex
	closed closings
}

// sendSlowly opens them. Each sends until it is closed, or for as long as
// patience says.
func sendSlowly(ctx context.Context, address string, cfg *tls.Config, connections int, every, patience time.Duration) (*slowSenders, error) {
	s := &slowSenders{}
	ctx, s.stop = context.WithCancel(ctx)
	for i := range connections {
		conn, err := dialFrom(ctx, i, address, cfg)
		if err != nil {
			s.stop()
			s.all.Wait()
			return nil, err
		}
		s.all.Go(func() {
			defer conn.Close()
			begun := time.Now()
			if sendUntilClosed(ctx, conn, every, begun.Add(patience)) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.closed.add(closings{1, time.Since(begun)})
			}
		})
	}
	return s, nil
}

// sendUntilClosed sends bytes until the other side closes the connection; false:
// it was left open until then, or ctx has ended.
func sendUntilClosed(ctx context.Context, conn net.Conn, every time.Duration, until time.Time) (closed bool) {
	const head = "POST /v1.0/p/kms/create-datakey HTTP/1.1\r\nX-Padding: "
	var answer [512]byte
	for sent := 0; ctx.Err() == nil && time.Now().Before(until); sent++ {
		next := byte('x')
		if sent < len(head) {
			next = head[sent]
		}
		if err := conn.SetDeadline(time.Now().Add(every)); err != nil {
			return true
		}
		if _, err := conn.Write([]byte{next}); err != nil {
			return true
		}
		for { // what is answered before the connection is closed
			_, err := conn.Read(answer[:])
			if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
				break
			} else if err != nil {
				return true
			}
		}
	}
	return false
}

// end waits until all are closed or out of patience, and returns what has
// become of them.
func (s *slowSenders) end() closings {
	s.all.Wait()
	s.stop()
	return s.closed
}
