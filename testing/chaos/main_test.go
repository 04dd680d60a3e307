package chaos_test

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/internal/leaktest"
)

var (
	logTo  = flag.String("chaos.log", "", "the file for the log of the transports and of sarama")
	logger = slog.New(slog.DiscardHandler)
)

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
	leaktest.Main(m)
}

type saramaLogger struct{ *slog.Logger }

func (l saramaLogger) Print(v ...any)            { l.Info(fmt.Sprint(v...)) }
func (l saramaLogger) Printf(f string, v ...any) { l.Info(fmt.Sprintf(f, v...)) }
func (l saramaLogger) Println(v ...any)          { l.Info(fmt.Sprint(v...)) }
