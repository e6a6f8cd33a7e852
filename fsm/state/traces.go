package state

import "iter"

// PutTraceLog writes what the cluster remembers of a node's traces.
func (x *Txn) PutTraceLog(t *TraceLog) {
	put(x, TableTraceLog, &x.traceLogs, []byte(t.NodeID), t)
}

// TraceLog returns what the cluster remembers of a node's traces.
func (v *View) TraceLog(nodeID string) (*TraceLog, bool) { return byID(&v.traceLogs, nodeID) }

// TraceLogs returns what the cluster remembers of the traces of every node, also
// of nodes that were removed, in the order of their ids.
func (v *View) TraceLogs() iter.Seq[*TraceLog] {
	return values(&v.traceLogs)
}
