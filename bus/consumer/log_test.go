package consumer_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/consumer"
)

// logLines collects log records, which it gets as JSON.
type logLines struct {
	mu  sync.Mutex
	all []map[string]any
}

func (l *logLines) Write(line []byte) (int, error) {
	var record map[string]any
	if err := json.Unmarshal(line, &record); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, record)
	return len(line), nil
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// with returns the lines with this message.
func (l *logLines) with(msg string) []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var found []map[string]any
	for _, line := range l.all {
		if line["msg"] == msg {
			found = append(found, line)
		}
	}
	return found
}

func TestBlockedMessageIsLoggedOnceByTheLoggerOfTheBus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines logLines
		r := newRig(t, 1, bus.WithLogger(lines.logger()))
		r.publish(t, 0, 2, nil)
		c := r.consumer(t, func(_ context.Context, d *bus.Delivery) error {
			if number(d) == 1 {
				return errTest
			}
			return nil
		}, consumer.WithAttempts(3))
		consuming(t, c)
		elapse(time.Hour)
		found := lines.with("message blocked: it has failed and there is no dead-letter topic")
		require.Len(t, found, 1)
		require.Equal(t, []any{"WARN", "t", 0.0, 1.0, 3.0, errTest.Error()}, []any{found[0]["level"], found[0]["topic"],
			found[0]["partition"], found[0]["offset"], found[0]["attempts"], found[0]["error"]})
	})
}

func TestConsumerThatStopsWithoutStopIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines logLines
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(context.Context, *bus.Delivery) error { return bus.Stop(errTest) }, consumer.WithLogger(lines.logger()))
		require.NoError(t, c.Start())
		wait(t, c, consumer.Stopped)
		found := lines.with("consumer stopped")
		require.Len(t, found, 1)
		require.Equal(t, []any{"ERROR", "t", "g"}, []any{found[0]["level"], found[0]["topic"], found[0]["group"]})
		require.Contains(t, found[0]["error"], errTest.Error())
	})
}

func TestHandlersThatWereCutOffAreLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines logLines
		r := newRig(t, 1)
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(ctx context.Context, _ *bus.Delivery) error {
			<-ctx.Done()
			return ctx.Err()
		}, consumer.WithLogger(lines.logger()), consumer.WithDrainTimeout(time.Second))
		consuming(t, c)
		synctest.Wait()
		stop(t, c)
		found := lines.with("handlers cut off: their messages will be delivered again")
		require.Len(t, found, 1)
		require.Equal(t, []any{"WARN", "t", "g"}, []any{found[0]["level"], found[0]["topic"], found[0]["group"]})
		require.Contains(t, found[0]["error"], "deadline_exceeded")
	})
}

func TestPostponedMessageIsLogged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines logLines
		r := newRig(t, 1, bus.WithLogger(lines.logger()))
		r.publish(t, 0, 1, nil)
		c := r.consumer(t, func(context.Context, *bus.Delivery) error { return errTest }, consumer.WithRetryTopics(time.Hour))
		consuming(t, c)
		synctest.Wait()
		require.Empty(t, lines.with("message dropped"))
		found := lines.with("message postponed: it is in a retry topic")
		require.Len(t, found, 1)
		require.Equal(t, []any{"WARN", "t.retry.1", errTest.Error()}, []any{found[0]["level"], found[0]["retry_topic"], found[0]["error"]})
	})
}
