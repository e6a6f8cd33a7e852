package huaweitest_test

import (
	"slices"
	"testing"

	"github.com/raftkms/raftkms/server/huawei/huaweitest"
)

// A method that a newer SDK brings has to get a step, and each has one.
func TestEveryMethodHasAStep(t *testing.T) {
	methods, steps := huaweitest.Methods(), huaweitest.Steps()
	if len(methods) < 58 {
		t.Fatalf("only %d methods are found", len(methods))
	}
	slices.Sort(methods)
	slices.Sort(steps)
	if !slices.Equal(methods, steps) {
		t.Errorf("the SDK has %v,\nthe driver takes %v", methods, steps)
	}
}
