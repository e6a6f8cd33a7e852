package batch

// line is a queue whose places are part of what stands in it, so that joining
// allocates nothing and leaving from the middle takes no search.
type line[T any] struct {
	first, last *place[T]
	length      int
}

// place is one place in at most one line.
type place[T any] struct {
	of            T
	ahead, behind *place[T]
	taken         bool
}

func (l *line[T]) push(p *place[T]) {
	p.ahead, p.behind, p.taken = l.last, nil, true
	if l.last != nil {
		l.last.behind = p
	} else {
		l.first = p
	}
	l.last = p
	l.length++
}

func (l *line[T]) pushFirst(p *place[T]) {
	p.ahead, p.behind, p.taken = nil, l.first, true
	if l.first != nil {
		l.first.ahead = p
	} else {
		l.last = p
	}
	l.first = p
	l.length++
}

// remove does nothing when p is in no line.
func (l *line[T]) remove(p *place[T]) {
	if !p.taken {
		return
	}
	if p.ahead != nil {
		p.ahead.behind = p.behind
	} else {
		l.first = p.behind
	}
	if p.behind != nil {
		p.behind.ahead = p.ahead
	} else {
		l.last = p.ahead
	}
	p.ahead, p.behind, p.taken = nil, nil, false
	l.length--
}
