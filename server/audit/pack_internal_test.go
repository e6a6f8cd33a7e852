package audit

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/uuid"
)

// closedSegment is the text of a segment as a busy node leaves it.
func closedSegment(t testing.TB, n int) []byte {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = uuid.NewString()
	}
	c := newChain()
	text := c.appendHeader(nil, "n1", 1, 1_700_000_000_000)
	at := time.UnixMilli(1_700_000_000_000)
	for range n {
		at = at.Add(time.Duration(random.IntN(60)) * time.Microsecond)
		key := keys[random.IntN(len(keys))]
		var asked, answered Details
		asked.Text("key_id", key)
		asked.Number("bits", 256)
		answered.Number("key_version", 1)
		r := Record{TraceName: "createDataKey", Rating: RatingNormal, ResourceType: "cmk", ResourceID: key, ResourceName: "key-" + key[:4],
			ResourceURL: "/v1.0/b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0/kms/create-datakey", SourceIP: fmt.Sprintf("192.0.2.%d", random.IntN(20)),
			UserAgent: "huaweicloud-usdk-go/3.0", RequestID: uuid.NewString(), ProjectID: "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0",
			User: User{ID: "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0", Name: "admin", DomainID: "d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0", DomainName: "acme", AccessKeyID: "AKAAAAAAAAAAAAAAAAAA"},
			Code: "200", ReadOnly: true, Request: &asked, Response: &answered, Time: at, RecordTime: at.Add(time.Millisecond), Duration: 150 * time.Microsecond}
		text = c.appendLine(text, r.appendBody(nil, "n1"), c.next)
	}
	return text
}

// BenchmarkPack prints what packing and indexing costs a record.
func BenchmarkPack(b *testing.B) {
	const n = 40_000
	text := closedSegment(b, n)
	p, err := newPacker(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer p.close()
	size := int64(0)
	b.ReportAllocs()
	for b.Loop() {
		x, err := p.packTo(io.Discard, bytes.NewReader(text), 1)
		if err != nil {
			b.Fatal(err)
		}
		size = x.packed + int64(len(x.append(nil)))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
	b.ReportMetric(float64(size)/n, "bytes/record")
	b.ReportMetric(float64(len(text))/n, "text/record")
}

// BenchmarkBody prints what the text of a record costs.
func BenchmarkBody(b *testing.B) {
	var asked, answered Details
	asked.Text("key_id", "0d0466b0-7d0a-4e2a-9d9a-3b6f2c1f6f0a")
	asked.Number("bits", 256)
	answered.Number("key_version", 1)
	at := time.UnixMilli(1_700_000_000_000)
	r := Record{TraceName: "createDataKey", Rating: RatingNormal, ResourceType: "cmk", ResourceID: "0d0466b0-7d0a-4e2a-9d9a-3b6f2c1f6f0a", ResourceName: "orders",
		ResourceURL: "/v1.0/b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0/kms/create-datakey", SourceIP: "192.0.2.7",
		UserAgent: "huaweicloud-usdk-go/3.0", RequestID: "5b03bd5c-d87d-4933-8cfd-5ce46c90360f", ProjectID: "b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0",
		User: User{ID: "a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0", Name: "admin", DomainID: "d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0", DomainName: "acme", AccessKeyID: "AKAAAAAAAAAAAAAAAAAA"},
		Code: "200", ReadOnly: true, Request: &asked, Response: &answered, Time: at, RecordTime: at, Duration: 150 * time.Microsecond}
	c := newChain()
	var body, line []byte
	b.Run("body", func(b *testing.B) {
		for b.Loop() {
			body = r.appendBody(body[:0], "n1")
		}
	})
	b.Run("line", func(b *testing.B) {
		for b.Loop() {
			line = c.appendLine(line[:0], body, c.next)
		}
	})
}

// What is read by the order of members is what is read as JSON.
func TestScanningInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	text := func() string {
		return []string{"", "", "plain", `with "quotes" and \`, "é\n\x00", `,"time":1`, `"},"user":{"id":"x"`, "\\\""}[random.IntN(8)]
	}
	inOrder := 0
	for range 20_000 {
		var asked Details
		asked.Text("time", text())
		asked.Text("code", text())
		asked.Texts("record_time", []string{text(), text()})
		at := time.UnixMilli(random.Int64N(1 << 42))
		r := Record{TraceName: text(), Rating: Rating(text()), Service: text(), ResourceType: text(), ResourceID: text(), ResourceName: text(), ResourceURL: text(),
			SourceIP: text(), UserAgent: text(), RequestID: text(), ProjectID: text(), OtherID: text(), Owners: [2]string{text(), text()}, User: User{ID: text(), Name: text(), DomainID: text(), DomainName: text(), AccessKeyID: text()},
			Code: text(), ErrorCode: text(), Message: text(), ReadOnly: random.IntN(2) == 0, Request: &asked, Response: &asked,
			Time: at, RecordTime: at.Add(time.Duration(random.IntN(100)) * time.Millisecond), Duration: time.Duration(random.IntN(1 << 30))}
		body := r.appendBody(nil, text())
		var fast, any fields
		if fast.scanOrdered(body) {
			inOrder++
		} else {
			t.Fatalf("%s is not read in order", body)
		}
		if !any.scanAny(body) {
			t.Fatalf("%s is not read", body)
		}
		if !same(&fast, &any) {
			t.Fatalf("%s\nis read in order as %+v\nand otherwise as %+v", body, fast, any)
		}
	}
	for _, m := range []Mark{{Kind: MarkFull, Time: 1}, {Kind: MarkDropped, Before: 7}} {
		var f fields
		if f.scanOrdered(m.body()) || !scanFields(m.body(), &f) || !f.mark {
			t.Errorf("a mark is read as %+v", f)
		}
	}
}

func same(a, b *fields) bool {
	for i := range a.text {
		if (a.text[i] == nil) != (b.text[i] == nil) || !bytes.Equal(a.text[i], b.text[i]) {
			return false
		}
	}
	if !bytes.Equal(a.otherID, b.otherID) || !bytes.Equal(a.owners[0], b.owners[0]) || !bytes.Equal(a.owners[1], b.owners[1]) {
		return false
	}
	return a.time == b.time && a.recordTime == b.recordTime && a.mark == b.mark
}
