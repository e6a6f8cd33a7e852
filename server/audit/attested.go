package audit

import "strings"

// attested is the newest of the checkpoints beside the log that is of this log.
// It was made of lines that were on disk: whatever of them cannot be read any
// more, no crash has torn.
func attested(dir, nodeID string, log Hash) (c Checkpoint, is bool, err error) {
	if !plainName(nodeID) {
		return c, false, nil // of such a node none are kept
	}
	all, err := ReadCopies(dir, nodeID)
	if err != nil {
		return c, false, err
	}
	for i := len(all) - 1; i >= 0; i-- {
		c, err := all[i].Open()
		if err == nil && c.Log == log && strings.HasSuffix(c.Origin, Origin("", nodeID)) {
			return c, true, nil
		}
	}
	return c, false, nil
}

// attest has the end of the log judged by the checkpoint beside it as well.
func (c *checker) attest(dir string) error {
	p, is, err := attested(dir, c.node, c.log)
	if err != nil || !is {
		return err
	}
	c.attestedNext, c.durable = p.Next(), max(c.durable, p.Next())
	if c.next < p.Next() {
		c.checkpoints = append(c.checkpoints, p) // for missing to say
	}
	return nil
}
