package gate

import "container/list"

// crowds are the places on which calls wait: number n those on which n+1 do. A
// queue grows and shrinks by one call at a time, so that who has most is found
// without looking at anybody else.
//
// Invariant: the last one is not empty.
type crowds []*list.List // of *Place

// settle moves a place to where the length of its queue puts it.
func (c *crowds) settle(p *Place) {
	now := p.queue.Len()
	if now == p.crowd {
		return
	}
	if p.crowd > 0 {
		(*c)[p.crowd-1].Remove(p.among)
		p.among = nil
	}
	if now > len(*c) {
		*c = append(*c, list.New())
	}
	if now > 0 {
		p.among = (*c)[now-1].PushBack(p)
	}
	if last := len(*c) - 1; (*c)[last].Len() == 0 {
		*c = (*c)[:last]
	}
	p.crowd = now
}

// largest returns a place on which no fewer calls wait than on any other. There
// must be one on which some do.
func (c crowds) largest() *Place { return c[len(c)-1].Front().Value.(*Place) }
