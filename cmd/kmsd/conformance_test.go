package main_test

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/raftkms/raftkms/client"
	"github.com/raftkms/raftkms/server/huawei/huaweitest"
)

// everyMethod takes the vendor's SDK through all that it can do, each call on
// the next node.
func everyMethod(t *testing.T, c *cluster) {
	pool, err := client.ReadCA(c.file.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	document := huaweitest.NewDocument(t)
	calls := map[string]int{}
	target := huaweitest.Target{
		Name: "sdk", AccessKey: c.file.AccessKey, SecretKey: c.file.SecretKey, Project: c.file.ProjectID,
		Domain: c.file.DomainID, User: c.file.UserID, Region: c.file.Region,
		Watch: func(e huaweitest.Exchange) { // the SDK makes one call at a time
			calls[e.Node]++
			document.Check(e)
		},
	}
	for _, node := range c.file.Nodes {
		target.Nodes = append(target.Nodes, huaweitest.Node{
			Name: node.ID, URL: node.URL, Client: &http.Client{Transport: transport, Timeout: 30 * time.Second},
		})
	}
	huaweitest.Run(t, target)
	for _, node := range target.Nodes {
		if calls[node.Name] < 20 {
			t.Errorf("%s answered %d calls", node.Name, calls[node.Name])
		}
	}
}
