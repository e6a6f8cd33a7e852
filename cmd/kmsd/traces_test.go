package main_test

import (
	"crypto/tls"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/basic"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	cts "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cts/v3"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cts/v3/model"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/wire"
)

// tracesOfAllNodes asks one node, with the SDK of the trace service, for what
// was asked of a key on all of them, page by page.
func tracesOfAllNodes(t *testing.T, c *cluster, nodes []sdk, key string) {
	t.Helper()
	for range 5 {
		for _, node := range nodes {
			node.describe(key)
		}
	}
	pool, err := client.ReadCA(c.file.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	auth, err := basic.NewCredentialsBuilder().WithAk(c.file.AccessKey).WithSk(c.file.SecretKey).WithProjectId(c.file.ProjectID).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	built, err := cts.CtsClientBuilder().WithEndpoints([]string{c.file.Nodes[0].URL}).WithCredential(auth).
		WithHttpConfig(config.DefaultHttpConfig().WithHttpTransport(transport)).SafeBuild()
	if err != nil {
		t.Fatal(err)
	}
	limit, name := int32(7), "describeKey"
	from, to := time.Now().Add(-time.Minute).UnixMilli(), time.Now().Add(time.Minute).UnixMilli()
	endpoints := make(map[string]int)
	request := &model.ListTracesRequest{TraceType: model.GetListTracesRequestTraceTypeEnum().SYSTEM, Limit: &limit, ResourceId: &key, TraceName: &name, From: &from, To: &to}
	for page := 0; ; page++ {
		answer, err := cts.NewCtsClient(built).ListTraces(request)
		if err != nil {
			t.Fatal(err)
		}
		for _, trace := range *answer.Traces {
			if *trace.ResourceId != key || *trace.TraceName != name || *trace.User.AccessKeyId != c.file.AccessKey {
				t.Errorf("got %s", trace)
			}
			endpoints[*trace.Endpoint]++
		}
		if answer.MetaData.Marker == nil {
			break
		}
		if request.Next = answer.MetaData.Marker; page > 100 {
			t.Fatal("there is no last page")
		}
	}
	for endpoint, n := range endpoints {
		if n < 5 {
			t.Errorf("%d traces of %s", n, endpoint)
		}
	}
	if len(endpoints) != len(nodes) {
		t.Errorf("traces of %v", endpoints)
	}
}

// tracesAreProved asks one node until checkpoints of every node prove its
// traces, and each node has copies of those of all.
func tracesAreProved(t *testing.T, c *cluster) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		reply, err := c.admin(0).VerifyTraces(t.Context(), wire.VerifyTracesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		proved, copies := 0, 0
		for _, node := range reply.Nodes {
			if node.Checkpoints > 0 {
				proved++
			}
			all, err := filepath.Glob(filepath.Join(c.dir, node.NodeID, "data", "audit", "checkpoints", "*.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			copies += len(all)
		}
		if !reply.Sound {
			t.Fatalf("%+v", reply)
		}
		if n := len(reply.Nodes); n == 3 && proved == n && copies == n*n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d logs are proved, %d copies", proved, len(reply.Nodes), copies)
		}
	}
}
