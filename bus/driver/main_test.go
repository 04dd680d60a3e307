package driver_test

import (
	"testing"

	"github.com/trunkline/trunkline/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
