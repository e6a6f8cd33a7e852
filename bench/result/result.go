// Package result is the file form of a benchmark: one file is one run, and says
// what was run, against what, on what kind of machine, with which settings, and
// what was measured, so that it can be drawn, compared and judged later and
// elsewhere.
//
// What it promises: a reader is bounded in what it reads and allocates, and takes
// nothing for granted; a file of a version that it does not know is refused with
// a sentence that says so. What is in a file is no secret: no credentials, no
// key material, no paths. Endpoints are named as they were given.
package result

import "time"

// Version is the version of the file form that this package writes, and the
// only one that it reads.
const Version = 1

// Result is one run.
type Result struct {
	Version  int       `json:"version"`
	Tool     string    `json:"tool"` // program and its version
	Started  time.Time `json:"started"`
	Machine  Machine   `json:"machine"`
	Target   Target    `json:"target"`
	Settings Settings  `json:"settings"`
	Series   []Point   `json:"series"`
}

// Machine is where the generator ran, in general terms.
type Machine struct {
	Cores  int    `json:"cores"` // that the generator may use
	OS     string `json:"os"`    // GOOS
	Arch   string `json:"arch"`  // GOARCH
	CPU    string `json:"cpu,omitempty"`
	Kernel string `json:"kernel,omitempty"`
}

// Target is what was driven.
type Target struct {
	Kind   string `json:"kind"`             // such as raftkms, fixed, huawei, aws, transit, kes
	Module string `json:"module,omitempty"` // of raftkms: soft or pkcs11
	Level  string `json:"level,omitempty"`  // protection level of the keys
	// Local says that the servers shared the generator's machine.
	Local bool `json:"local"`
}

// Settings are what all points have in common.
type Settings struct {
	Operation string        `json:"operation"`
	Payload   int           `json:"payload_bytes"` // 0: the operation has none
	Batch     int           `json:"batch,omitempty"`
	Warmup    time.Duration `json:"warmup_ns"`
	Duration  time.Duration `json:"duration_ns"` // of one round
	Rounds    int           `json:"rounds"`
}

// Point is one place of a sweep, measured in rounds.
type Point struct {
	Connections   int           `json:"connections"`
	Nodes         int           `json:"nodes"`
	Keys          int           `json:"keys"`
	DeviceLatency time.Duration `json:"device_latency_ns,omitempty"` // added to every call of the HSM
	// Rate is the calls per second of an open loop; 0: a closed loop.
	Rate   float64 `json:"rate,omitempty"`
	Rounds []Round `json:"rounds"`
}

// Round is one measurement.
type Round struct {
	Elapsed   time.Duration     `json:"elapsed_ns"`
	Calls     uint64            `json:"calls"` // successes
	Errors    uint64            `json:"errors"`
	Kinds     map[string]uint64 `json:"errors_by_kind,omitempty"`
	Latencies Histogram         `json:"latencies"`
	Nodes     []Node            `json:"per_node,omitempty"`
	Server    *Server           `json:"server,omitempty"` // nil: nothing could be measured
	Generator Generator         `json:"generator"`
	Open      *Open             `json:"open_loop,omitempty"` // nil: a closed loop
}

// Node is the part of a round that one node had.
type Node struct {
	Name      string    `json:"name"`
	Calls     uint64    `json:"calls"`
	Errors    uint64    `json:"errors"`
	Latencies Histogram `json:"latencies"`
}

// Server is what the round cost the servers, all together. What could not be
// measured is nil.
type Server struct {
	CPU        *time.Duration `json:"cpu_ns,omitempty"`           // user and system time, of local processes
	AllocBytes *float64       `json:"alloc_bytes,omitempty"`      // by their own metrics
	Allocs     *float64       `json:"alloc_objects,omitempty"`    // by their own metrics
	GCs        *float64       `json:"gc_cycles,omitempty"`        // by their own metrics
	GCPause    *float64       `json:"gc_pause_seconds,omitempty"` // by their own metrics
}

// Open is what only an open loop has.
type Open struct {
	Planned uint64 `json:"planned"`
	Waited  uint64 `json:"waited"` // found all connections busy at their time
	Unsent  uint64 `json:"unsent"` // never started
	Busy    bool   `json:"busy"`   // whether they did not because all connections were busy; otherwise the generator was behind
	// Lateness is how late calls started although a connection was free: the
	// generator's own share of the latencies.
	Lateness Histogram `json:"lateness"`
}

// Generator is what the round cost the generator, and whether it was what was
// measured.
type Generator struct {
	CPU time.Duration `json:"cpu_ns"` // user and system time of its process
	// Bottleneck says that the generator or its machine, and not the servers
	// alone, bounded the round; Reason is the sentence that says how that was judged.
	Bottleneck bool   `json:"bottleneck"`
	Reason     string `json:"reason"`
}
