package liveness_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/liveness"
)

func TestMeaningOfEveryCode(t *testing.T) {
	t.Parallel()
	want := map[bus.Code]liveness.Meaning{
		bus.CodeUnknown:           liveness.Loss,
		bus.CodeInvalidArgument:   liveness.Nothing,
		bus.CodeNotFound:          liveness.Nothing,
		bus.CodeAlreadyExists:     liveness.Nothing,
		bus.CodeUnsupported:       liveness.Nothing,
		bus.CodeTooLarge:          liveness.Nothing,
		bus.CodeClosed:            liveness.Nothing,
		bus.CodeUnavailable:       liveness.Loss,
		bus.CodeDeadlineExceeded:  liveness.Doubt,
		bus.CodeCanceled:          liveness.Nothing,
		bus.CodeOutcomeUnknown:    liveness.Loss,
		bus.CodeUnauthenticated:   liveness.Refusal,
		bus.CodePermissionDenied:  liveness.Nothing,
		bus.CodeUndecodable:       liveness.Nothing,
		bus.CodeRevoked:           liveness.Nothing,
		bus.CodeResourceExhausted: liveness.Doubt,
		bus.CodeOutOfRange:        liveness.Nothing,
		bus.CodeInternal:          liveness.Nothing,
	}
	for code, meaning := range want {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			err := &bus.Error{Code: code, Op: "publish"}
			require.Equal(t, meaning, liveness.MeaningOf(err))
			require.Equal(t, meaning, liveness.MeaningOf(fmt.Errorf("wrapped: %w", err)))
		})
	}
	// Whoever adds a code has to say what it means.
	next := bus.Code(len(want))
	require.Equal(t, fmt.Sprintf("code(%d)", len(want)), next.String(), "a code is missing from the table")
	require.Equal(t, liveness.Nothing, liveness.MeaningOf(&bus.Error{Code: next}))
}

func TestMeaningOfOtherErrors(t *testing.T) {
	t.Parallel()
	require.Equal(t, liveness.Life, liveness.MeaningOf(nil))
	require.Equal(t, liveness.Doubt, liveness.MeaningOf(context.DeadlineExceeded))
	require.Equal(t, liveness.Nothing, liveness.MeaningOf(context.Canceled))
	require.Equal(t, liveness.Loss, liveness.MeaningOf(errors.New("broken pipe")))
}

func TestMeaningString(t *testing.T) {
	t.Parallel()
	require.Equal(t, "nothing life doubt loss refusal invalid", fmt.Sprint(liveness.Nothing, liveness.Life, liveness.Doubt,
		liveness.Loss, liveness.Refusal, liveness.Meaning(99)))
}
