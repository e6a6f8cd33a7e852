package wire

// AdminPathUpgrade: GET → UpgradeStatus; POST RaiseLevelRequest → UpgradeStatus,
// once the cluster is at the higher feature level.
const AdminPathUpgrade = "/v1/cluster/upgrade"

// UpgradeStatus is how far a rolling upgrade has come.
type UpgradeStatus struct {
	Level    uint32        `json:"level"`    // feature level of the cluster: nothing newer is written by any node
	Possible uint32        `json:"possible"` // the highest level that all nodes know
	Nodes    []NodeProgram `json:"nodes"`
}

// NodeProgram is what a node runs, as it said when it was started.
type NodeProgram struct {
	NodeID  string `json:"node_id"`
	Version string `json:"version"`
	Lowest  uint32 `json:"lowest_level"`  // feature level at which that version can still run
	Highest uint32 `json:"highest_level"` // newest feature level that it knows
}

// RaiseLevelRequest takes the cluster to a higher feature level, for good.
type RaiseLevelRequest struct {
	Level uint32 `json:"level,omitempty"` // 0: the highest that all nodes know
}
