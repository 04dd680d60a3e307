package chaos_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var (
	logTo  = flag.String("chaos.log", "", "file to which the transports and sarama log")
	logger = slog.New(slog.DiscardHandler)
)

// sarama's metrics library keeps one goroutine for the whole process.
var metrics = goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick")

func TestMain(m *testing.M) {
	flag.Parse()
	if *logTo != "" {
		f, err := os.Create(*logTo)
		if err != nil {
			fmt.Fprintf(os.Stderr, "-chaos.log: %v\n", err)
			os.Exit(2)
		}
		logger = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
		sarama.Logger = saramaLogger{logger.With("bus", "sarama")}
	}
	goleak.VerifyTestMain(m, metrics)
}

type saramaLogger struct{ *slog.Logger }

func (l saramaLogger) Print(v ...any)            { l.Info(fmt.Sprint(v...)) }
func (l saramaLogger) Printf(f string, v ...any) { l.Info(fmt.Sprintf(f, v...)) }
func (l saramaLogger) Println(v ...any)          { l.Info(fmt.Sprint(v...)) }

// noGoroutineIsLeft waits for those that end by themselves: sarama's circuit breaker, once
// open, sleeps for ten seconds whatever becomes of its client.
func noGoroutineIsLeft(t *testing.T, before goleak.Option) {
	t.Helper()
	err := goleak.Find(before, metrics)
	for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); {
		err = goleak.Find(before, metrics) // which waits a little itself
	}
	require.NoError(t, err)
}
