package state

// PutTraceLog writes what the cluster remembers of a node's traces.
func (x *Txn) PutTraceLog(t *TraceLog) {
	put(x, TableTraceLog, &x.traceLogs, []byte(t.NodeID), t)
}

// TraceLog returns what the cluster remembers of a node's traces.
func (v *View) TraceLog(nodeID string) (*TraceLog, bool) { return byID(&v.traceLogs, nodeID) }
