package nemesis

import (
	"errors"
	"slices"
)

// The kinds that need [Nemesis.Programs]: a node ends as an operator ends it and
// goes on as another program, for good. After a few of them both programs are at
// work in the cluster.
const (
	OtherProgram Kind = "other-program" // any node does
	OtherLeader  Kind = "other-leader"  // the leader does
)

// ProgramKinds are those that need [Nemesis.Programs].
func ProgramKinds() []Kind { return []Kind{OtherProgram, OtherLeader} }

// Use has the next lives of the process be those of another program, with the
// same arguments.
func (p *Process) Use(program string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.argv = append([]string{program}, p.argv[1:]...)
}

// Program is what the next life of the process is of.
func (p *Process) Program() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.argv[0]
}

// exchange ends a node and has it start as the next of the programs.
func (n *Nemesis) exchange(victim *Process) (detail string, err error) {
	at := slices.Index(n.Programs, victim.Program())
	if at < 0 || len(n.Programs) < 2 {
		return "", errors.New("there is no other program to run a node as")
	}
	next := n.Programs[(at+1)%len(n.Programs)]
	if err := victim.Stop(stopPatience); err != nil {
		return "", err
	}
	victim.Use(next)
	return "to " + next, nil
}
