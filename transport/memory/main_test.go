package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) {
	// watermill's suite leaves the goroutines that merge the channels of its subscribers, if
	// nothing reads the merged channel.
	const merge = "github.com/ThreeDotsLabs/watermill/internal/subscriber.(*multiplier).Subscribe."
	leaktest.Main(m, goleak.IgnoreAnyFunction(merge+"func2"), goleak.IgnoreAnyFunction(merge+"func3"))
}
