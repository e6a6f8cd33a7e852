package campaign

import "sync"

// leaders are the programs as which nodes have led. It is safe for concurrent
// use; the zero value is ready.
type leaders struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (l *leaders) add(program string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = make(map[string]bool)
	}
	l.seen[program] = true
}

// programs is how many there are.
func (l *leaders) programs() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen)
}
