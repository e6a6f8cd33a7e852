package export

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logs "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/raftkms/raftkms/server/audit"
)

// otlp posts OpenTelemetry log records (OTLP over HTTP, protobuf).
type otlp struct {
	poster
	nodeID string
}

func newOTLP(c Config, nodeID string) *otlp { return &otlp{poster{cfg: c}, nodeID} }

// errRejected: the receiver has taken the batch, but not all of it, and says
// that sending it again is of no use.
var errRejected = errors.New("the receiver has rejected records")

func (o *otlp) send(ctx context.Context, batch []audit.Line) error {
	body, err := proto.Marshal(o.request(batch))
	if err != nil {
		return fmt.Errorf("encoding traces: %w", err)
	}
	answer, err := o.post(ctx, body, http.Header{"Content-Type": {"application/x-protobuf"}})
	if err != nil {
		return fmt.Errorf("posting traces: %w", err)
	}
	var reply collector.ExportLogsServiceResponse
	if err := proto.Unmarshal(answer, &reply); err != nil {
		return errors.New("posting traces: the answer is none of OTLP")
	}
	if n := reply.GetPartialSuccess().GetRejectedLogRecords(); n > 0 {
		// It is not left out in silence: the export stands still until somebody looks.
		return fmt.Errorf("posting traces: %w: %d", errRejected, n)
	}
	return nil
}

func (o *otlp) request(batch []audit.Line) *collector.ExportLogsServiceRequest {
	records := make([]*logs.LogRecord, len(batch))
	for i := range batch {
		records[i] = record(&batch[i])
	}
	return &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  &resource.Resource{Attributes: []*common.KeyValue{text("service.name", "raftkms"), text("service.instance.id", o.nodeID)}},
		ScopeLogs: []*logs.ScopeLogs{{Scope: &common.InstrumentationScope{Name: "raftkms/audit"}, LogRecords: records}},
	}}}
}

// record is a line as a log record: the line itself is the body, and attributes
// say what is looked for.
func record(l *audit.Line) *logs.LogRecord {
	s := summarise(l)
	t := &s.trace
	r := &logs.LogRecord{
		TimeUnixNano: uint64(time.UnixMilli(max(0, t.Time)).UnixNano()), ObservedTimeUnixNano: uint64(time.UnixMilli(max(0, l.RecordTime)).UnixNano()),
		EventName: s.name, Body: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: strings.TrimSuffix(string(l.AppendRaw(nil)), "\n")}},
		Attributes: []*common.KeyValue{
			{Key: "raftkms.seq", Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: int64(l.Sequence)}}},
			text("raftkms.hash", hex.EncodeToString(l.Hash[:])),
		},
	}
	switch audit.Rating(s.rating) {
	case audit.RatingIncident:
		r.SeverityNumber = logs.SeverityNumber_SEVERITY_NUMBER_ERROR
	case audit.RatingWarning:
		r.SeverityNumber = logs.SeverityNumber_SEVERITY_NUMBER_WARN
	default:
		r.SeverityNumber = logs.SeverityNumber_SEVERITY_NUMBER_INFO
	}
	r.SeverityText = s.rating
	for _, a := range [...]struct{ name, value string }{
		{"raftkms.trace_id", s.id}, {"raftkms.trace_type", t.Type}, {"raftkms.service", t.Service}, {"raftkms.resource_type", t.ResourceType},
		{"raftkms.resource_id", t.ResourceID}, {"raftkms.resource_name", t.ResourceName}, {"raftkms.request_id", t.RequestID}, {"raftkms.node_id", t.NodeID},
		{"raftkms.project_id", t.ProjectID}, {"raftkms.code", t.Code}, {"raftkms.error_code", t.ErrorCode}, {"raftkms.message", t.Message},
		{"user.id", t.User.ID}, {"user.name", t.User.Name}, {"raftkms.access_key_id", t.User.AccessKeyID}, {"client.address", t.SourceIP},
	} {
		if a.value != "" {
			r.Attributes = append(r.Attributes, text(a.name, a.value))
		}
	}
	return r
}

func text(name, value string) *common.KeyValue {
	return &common.KeyValue{Key: name, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}
