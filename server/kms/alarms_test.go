package kms_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/raftkms/raftkms/hsm/envelope"
	"github.com/raftkms/raftkms/server/audit"
	"github.com/raftkms/raftkms/server/kms"
)

// Many who are refused one key are an incident about the key: one for all of
// them, in the key's project.
func TestRefusalsAboutOneKey(t *testing.T) {
	w := newWorld(t)
	key := w.createKey("orders")
	for i := range 40 {
		user := fmt.Sprintf("%032d", i%4)
		err := w.callAs(user, "AK"+user, w.project, kms.OpEncryptData, w.encrypting(key.ID, envelope.NoContext()))
		wantKind(t, err, kms.KindUnauthenticated)
	}
	var incidents []*audit.Record
	for _, r := range w.traces.records {
		if r.TraceName == "unusualRefusals" {
			incidents = append(incidents, r)
		}
	}
	if len(incidents) != 1 {
		t.Fatalf("%d incidents", len(incidents))
	}
	r := incidents[0]
	if r.ResourceType != "cmk" || r.ResourceID != key.ID || r.ResourceName != "orders" || r.ProjectID != w.project || r.Rating != audit.RatingIncident ||
		!strings.HasPrefix(r.Message, "30 refusals within a minute: key ") || !strings.Contains(r.Request.String(), `"last_source_ip":"127.0.0.1"`) {
		t.Errorf("traced as %+v, %s", r, r.Request)
	}
	if n := w.service.RefusalBursts(kms.SubjectKey); n != 1 || w.service.RefusalBursts(kms.SubjectUser) != 0 {
		t.Errorf("%d counted", n)
	}
}
