package client_test

import (
	"fmt"
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
	f(`GET tags {}`, `{"tags":[{"key":"stage","values":["live","test"]}]}`, map[string][]string{"stage": {"live", "test"}},
		func() (any, error) { return c.ProjectTags(t.Context()) })
	f(`GET user-instances {}`, `{"instance_num":7}`, 7, func() (any, error) { return c.CountKeys(t.Context()) })
	f(`k/tags/action {"action":"create","tags":[{"key":"stage","value":"test"}]}`, ``, nil,
		func() (any, error) { return nil, c.SetTags(t.Context(), "k", map[string]string{"stage": "test"}) })
	f(`k/tags/action {"action":"delete","tags":[{"key":"stage","value":""}]}`, ``, nil, func() (any, error) { return nil, c.RemoveTags(t.Context(), "k", "stage") })
	search := client.KeySearch{Tags: map[string][]string{"team": nil, "stage": {"test"}}}
	const tags = `"tags":[{"key":"stage","values":["test"]},{"key":"team","values":[]}]`
	f(`resource_instances/action {"action":"filter","limit":"10","offset":"0",`+tags+`}`, `{"resources":[{"resource_detail":`+keyDetail+`}],"total_count":12}`, keyID+" of 12",
		func() (any, error) {
			found, n, err := c.FindKeys(t.Context(), search, 0, 10)
			return fmt.Sprintf("%s of %d", found[0].ID, n), err
		})
	search.Name = "pay"
	f(`resource_instances/action {"action":"count",`+tags+`,"matches":[{"key":"resource_name","value":"pay"}]}`, `{"total_count":12}`, 12,
		func() (any, error) { return c.CountFound(t.Context(), search) })
}
