package driver_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

func TestErrorIsOneLineWithAllFields(t *testing.T) {
	t.Parallel()
	cause := errors.Join(context.DeadlineExceeded, errors.New("no broker answers"))
	for want, e := range map[string]*driver.Error{
		`kafka: publish "orders": nothing was sent: context deadline exceeded; no broker answers (unavailable)`: {
			Code: driver.CodeUnavailable, Op: "publish", Transport: "kafka", Topic: "orders", Reason: "nothing was sent", Err: cause},
		`open: the bus URL has no scheme (invalid_argument)`: {Code: driver.CodeInvalidArgument, Op: "open", Reason: "the bus URL has no scheme"},
		`fetch "t": context canceled (canceled)`:             {Code: driver.CodeCanceled, Op: "fetch", Topic: "t", Err: context.Canceled},
	} {
		require.Equal(t, want, e.Error())
	}
}

func TestCodeOfFindsAWrappedError(t *testing.T) {
	t.Parallel()
	inner := &driver.Error{Code: driver.CodeRevoked, Err: context.Canceled}
	require.Equal(t, driver.CodeRevoked, driver.CodeOf(fmt.Errorf("outer: %w", inner)))
	require.ErrorIs(t, inner, context.Canceled)
	require.Equal(t, driver.CodeDeadlineExceeded, driver.CodeOf(fmt.Errorf("x: %w", context.DeadlineExceeded)))
	require.Equal(t, driver.CodeCanceled, driver.CodeOf(context.Canceled))
	require.Equal(t, driver.CodeUnknown, driver.CodeOf(errors.New("x")))
	require.Equal(t, driver.CodeUnknown, driver.CodeOf(nil))
}

func TestEachCodeHasADifferentName(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for c := driver.CodeUnknown; c <= driver.CodeInternal; c++ {
		require.NotContains(t, c.String(), "code(")
		require.False(t, seen[c.String()], c.String())
		seen[c.String()] = true
	}
	require.Equal(t, "code(200)", driver.Code(200).String())
}
