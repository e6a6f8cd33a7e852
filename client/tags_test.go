package client_test

import (
	"testing"

	"github.com/raftkms/raftkms/client"
)

// What the calls about tags and quotas send, and what they make of the answer.
func TestTagsAndQuotas(t *testing.T) {
	node := newFake(t, nil)
	c := open(t, configure(node))
	f := node.exchange
	const quotas = `{"quotas":{"resources":[{"type":"CMK","used":3,"quota":100}]}}`
	want := []client.Quota{{Type: "CMK", Used: 3, Quota: 100}}
	f(`GET user-quotas {}`, quotas, want, func() (any, error) { return c.Quotas(t.Context()) })
	f(`PUT user-quotas {"target_project_id":"p","resources":[{"type":"CMK","used":0,"quota":"100"},{"type":"tag_per_CMK","used":0,"quota":"7"}]}`, quotas, want,
		func() (any, error) {
			return c.SetQuotas(t.Context(), "p", map[string]int{"tag_per_CMK": 7, "CMK": 100})
		})
	f(`GET k/tags {}`, `{"tags":[{"key":"stage","value":"test"}],"existTagsNum":1,"sys_tags":[]}`, map[string]string{"stage": "test"},
		func() (any, error) { return c.Tags(t.Context(), "k") })
	f(`resource_instances/action {"action":"filter","limit":"10","offset":"0","tags":[{"key":"stage","values":["test"]},{"key":"team","values":[]}]}`,
		`{"resources":[],"total_count":12}`, 12,
		func() (any, error) {
			_, n, err := c.FindTagged(t.Context(), map[string][]string{"team": nil, "stage": {"test"}}, 0, 10)
			return n, err
		})
}
