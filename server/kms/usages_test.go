package kms

import (
	"slices"
	"testing"

	"github.com/raftkms/raftkms/fsm"
	"github.com/raftkms/raftkms/hsm"
)

// What the state takes and what the modules make is the same: specs, their uses
// and the order of these.
func TestUsagesAreUses(t *testing.T) {
	for _, spec := range hsm.Specs() {
		var uses []hsm.Use
		for _, usage := range fsm.Usages(string(spec)) {
			uses = append(uses, useOf(usage))
		}
		if !slices.Equal(uses, spec.Uses()) {
			t.Errorf("%s: the state has %v, modules %v", spec, uses, spec.Uses())
		}
	}
	if len(fsm.Usages("AES_512")) != 0 || hsm.Spec("AES_512").Family() != 0 {
		t.Error("AES_512 is a spec")
	}
}
