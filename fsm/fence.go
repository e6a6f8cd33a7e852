package fsm

import "github.com/raftkms/raftkms/fsm/command"

// fence notes the command if it is fenced and was done, and returns what must be
// released before anybody is told of it.
func (c *call) fence(typ command.Type, body command.Body, done bool) uint64 {
	if done && typ.Fenced() {
		project, key := "", ""
		if scoped, ok := body.(command.Scoped); ok {
			project, key = scoped.Scope()
		}
		c.Fenced(c.index, project, key)
		return c.index
	}
	if done && c.caller.Kind == command.CallerUser {
		fenceIn := c.FenceWithin
		about, is := body.(command.AboutKey)
		if is && typ.OfOneKey() {
			fenceIn = func(project string) uint64 { return c.FenceOf(project, about.AboutKey()) }
		}
		fence := fenceIn(c.caller.ProjectID)
		if is {
			if key, ok := c.Key(about.AboutKey()); ok && key.ProjectID != c.caller.ProjectID { // by a grant
				fence = max(fence, fenceIn(key.ProjectID))
			}
		}
		return fence
	}
	return c.LastFence()
}
