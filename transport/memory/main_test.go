package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) {
	// watermill's suite leaves the goroutines that merge its subscribers' channels,
	// when nobody reads what was merged.
	const merge = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe."
	leaktest.Main(m, goleak.IgnoreAnyFunction(merge+"func2"), goleak.IgnoreAnyFunction(merge+"func3"))
}
