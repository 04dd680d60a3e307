package liveness_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/liveness"
	"github.com/trunkline/trunkline/liveness/probe"
)

// logBuffer keeps the lines of a log, without their times.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

// take returns the lines since the last call of take.
func (b *logBuffer) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	text := strings.TrimSpace(b.buf.String())
	b.buf.Reset()
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func TestMonitorLogsLossesAndReturns(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log logBuffer
		r := newRig(t, liveness.WithLogger(log.logger())).start()
		defer r.close()
		r.until(probe.Running)
		synctest.Wait()
		require.Equal(t, []string{`level=INFO msg="the message bus is ready" service=message-bus`}, log.take())

		time.Sleep(time.Minute)
		r.fake.setPing(silent)
		r.fake.report(driver.Disconnected, errGone)
		synctest.Wait()
		require.Equal(t, []string{`level=WARN msg="the message bus is not ready" service=message-bus cause="connect: connection refused (unavailable)" losses=1`}, log.take())
		time.Sleep(time.Minute)
		require.Empty(t, log.take(), "one line is enough")
		r.fake.setPing(answer(nil))
		r.fake.report(driver.Connected, nil)
		synctest.Wait()
		require.Equal(t, []string{`level=INFO msg="the message bus is ready again" service=message-bus after=1m0s losses=0`}, log.take())

		time.Sleep(2 * time.Second)
		r.fake.report(driver.Refused, errDenied)
		synctest.Wait()
		require.Equal(t, []string{`level=ERROR msg="the message bus has failed and will not recover by itself" service=message-bus cause="connect: wrong password (unauthenticated)" losses=1`}, log.take())
	})
}

func TestMonitorLogsWhyItIsNotReadyAtTheStart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log logBuffer
		r := newRig(t, liveness.WithLogger(log.logger()))
		sub, session := r.consume(t.Context())
		r.monitor.Require(sub)
		r.start()
		defer r.close()
		time.Sleep(time.Minute)
		require.Equal(t, []string{`level=INFO msg="the message bus is not ready yet" service=message-bus cause="wait for the subscription \"orders\": it has no assignment (unavailable)"`}, log.take())
		session.events <- driver.Event{Assigned: true}
		synctest.Wait()
		require.Equal(t, []string{`level=INFO msg="the message bus is ready" service=message-bus`}, log.take())
	})
}

func TestMonitorLogsOneLineASecond(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log logBuffer
		r := newRig(t, liveness.WithLogger(log.logger())).start()
		defer r.close()
		r.until(probe.Running)
		time.Sleep(time.Minute)
		log.take()
		for range 50 { // in 5 s
			r.fake.report(driver.Disconnected, errGone)
			time.Sleep(50 * time.Millisecond)
			r.fake.report(driver.Connected, nil)
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		lines := log.take()
		require.LessOrEqual(t, len(lines), 6)
		require.Contains(t, lines[len(lines)-1], "ready")
		require.NotContains(t, lines[len(lines)-1], "not ready\"", "the last line is about the last state")
	})
}

func TestMonitorLogsALossThatEndedBeforeItCouldBeLogged(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log logBuffer
		r := newRig(t, liveness.WithLogger(log.logger())).start()
		defer r.close()
		r.until(probe.Running)
		synctest.Wait()
		log.take() // the next line comes a second later
		for range 3 {
			r.fake.report(driver.Disconnected, errGone)
			r.until(probe.NotReady)
			r.fake.report(driver.Connected, nil)
			r.until(probe.Running)
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{`level=WARN msg="the message bus was not ready for a moment" service=message-bus losses=3`}, log.take())
	})
}

func TestDefaultLoggerIsThatOfTheBus(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log logBuffer
		b, err := bus.New(newFake(), bus.WithLogger(log.logger()))
		require.NoError(t, err)
		monitor, err := liveness.Attach(b, probe.New())
		require.NoError(t, err)
		synctest.Wait()
		require.Contains(t, strings.Join(log.take(), "\n"), "the message bus is ready")
		require.NoError(t, monitor.Close())
		require.NoError(t, b.Close())
	})
}

// A log handler that hangs must not delay a verdict.
func TestStuckLogDelaysNothing(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, liveness.WithLogger(slog.New(slog.NewTextHandler(stuckWriter(release), nil)))).start()
		defer r.close()
		r.until(probe.Running)
		r.fake.setPing(silent)
		r.fake.report(driver.Disconnected, errGone)
		require.Zero(t, r.until(probe.NotReady))
		close(release)
	})
}

type stuckWriter <-chan struct{}

func (w stuckWriter) Write(p []byte) (int, error) {
	<-w
	return len(p), nil
}

func TestCheckerLogsChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var log logBuffer
		transport := &checked{fake: newFake()}
		transport.find(allWell)
		c, _, b := newChecker(t, transport, driver.CheckSpec{}, liveness.WithLogger(log.logger()), liveness.WithCheckInterval(time.Second))
		running := run(t, c)
		step := func(h driver.Health) []string {
			transport.find(h)
			time.Sleep(3 * time.Second)
			synctest.Wait()
			return log.take()
		}
		require.Empty(t, step(allWell))
		require.Equal(t, []string{`level=WARN msg="the check of brokers and topics passed with a warning" service=message-bus-brokers warning="broker c:1 does not answer"`}, step(oneDown))
		require.Equal(t, []string{`level=WARN msg="the check of brokers and topics failed" service=message-bus-brokers cause="check: 1 of 3 brokers answer, need 2 (unavailable)"`}, step(tooFew))
		require.Equal(t, []string{`level=INFO msg="the check of brokers and topics passes again" service=message-bus-brokers`}, step(allWell))
		step(oneDown)
		require.Equal(t, []string{`level=INFO msg="the check of brokers and topics passes without a warning again" service=message-bus-brokers`}, step(allWell))
		require.NoError(t, c.Close())
		require.NoError(t, <-running)
		require.NoError(t, b.Close())
	})
}
