package liveness

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
)

func TestEveryCodeHasAMeaning(t *testing.T) {
	t.Parallel()
	want := map[bus.Code]meaning{
		bus.CodeUnknown:           loss,
		bus.CodeInvalidArgument:   nothing,
		bus.CodeNotFound:          nothing,
		bus.CodeAlreadyExists:     nothing,
		bus.CodeUnsupported:       nothing,
		bus.CodeTooLarge:          nothing,
		bus.CodeClosed:            nothing,
		bus.CodeUnavailable:       loss,
		bus.CodeDeadlineExceeded:  doubt,
		bus.CodeCanceled:          nothing,
		bus.CodeOutcomeUnknown:    loss,
		bus.CodeUnauthenticated:   refusal,
		bus.CodePermissionDenied:  nothing,
		bus.CodeUndecodable:       nothing,
		bus.CodeRevoked:           nothing,
		bus.CodeResourceExhausted: doubt,
		bus.CodeOutOfRange:        nothing,
		bus.CodeInternal:          nothing,
	}
	for code, meaning := range want {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			err := &bus.Error{Code: code, Op: "publish"}
			require.Equal(t, meaning, meaningOf(err))
			require.Equal(t, meaning, meaningOf(fmt.Errorf("wrapped: %w", err)))
		})
	}
	// A new code must be added to the table.
	next := bus.Code(len(want))
	require.Equal(t, fmt.Sprintf("code(%d)", len(want)), next.String(), "a code is missing from the table")
	require.Equal(t, nothing, meaningOf(&bus.Error{Code: next}))
}

func TestMeaningOfErrorsWithoutACode(t *testing.T) {
	t.Parallel()
	require.Equal(t, life, meaningOf(nil))
	require.Equal(t, doubt, meaningOf(context.DeadlineExceeded))
	require.Equal(t, nothing, meaningOf(context.Canceled))
	require.Equal(t, loss, meaningOf(errors.New("broken pipe")))
}
