package huawei_test

import (
	"testing"
	"time"

	"github.com/raftkms/raftkms/fsm/fsmtest"
	"github.com/raftkms/raftkms/server/huawei/huaweitest"
	"github.com/raftkms/raftkms/server/kms"
	"github.com/raftkms/raftkms/server/wire"
)

// Every method of the vendor's SDK, on one node in memory; cmd/kmsd runs the
// same against clusters of processes.
func TestConformance(t *testing.T) {
	w := newWorld(t)
	w.replica.advance(time.Now().UnixMilli())                // import tokens are judged by both clocks
	w.search = func(kms.TraceQuery) (kms.TracePage, error) { // of this one node
		return kms.TracePage{Traces: []wire.Trace{{TraceID: "1", TraceName: "createKey", TraceRating: "normal", TraceType: "ApiCall"}}}, nil
	}
	document := huaweitest.NewDocument(t)
	target := w.target("run")
	target.Watch = document.Check
	huaweitest.Run(t, target)
	if n := len(document.Answered()); n < 40 {
		t.Errorf("only %d operations were held against the document", n)
	}
}

// target is the world as the conformance driver wants it.
func (w *world) target(name string) huaweitest.Target {
	return huaweitest.Target{
		Nodes: []huaweitest.Node{{Name: "memory", URL: endpoint, Client: w.client}},
		Name:  name, AccessKey: fsmtest.AccessKeyID, SecretKey: secretKey,
		Project: fsmtest.ProjectID, Domain: fsmtest.DomainID, User: fsmtest.UserID, Region: fsmtest.Region,
	}
}
