package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestMain makes the test binary a broker if the command starts it as one.
func TestMain(m *testing.M) {
	if os.Getenv(brokerEnv) != "" {
		exit(serveBroker(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// This test measures every scenario once, briefly. Each scenario checks that no message is lost.
func TestEveryScenarioRuns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	table, picture := filepath.Join(dir, "bench.md"), filepath.Join(dir, "bench.svg")
	var out bytes.Buffer
	require.NoError(t, command(t.Context(), []string{"-quick", "-json", "-md", table, "-svg", picture}, &out, io.Discard))
	var results []result
	require.NoError(t, json.Unmarshal(out.Bytes(), &results))
	require.Len(t, results, len(scenarios()))
	written, err := os.ReadFile(table)
	require.NoError(t, err)
	for _, r := range results {
		ours := 0
		for _, row := range r.Rows {
			require.Positive(t, row.Median.Rate, "%s: %s", r.Name, row.Peer)
			if row.Ours {
				ours++
			}
			if r.Group == "publish" {
				require.GreaterOrEqual(t, row.Median.PerRequest, 1.0, "%s: %s", r.Name, row.Peer)
			}
			require.Contains(t, string(written), row.Peer)
		}
		require.Positive(t, ours, r.Name)
	}
	drawn, err := os.ReadFile(picture)
	require.NoError(t, err)
	d := xml.NewDecoder(bytes.NewReader(drawn))
	for {
		if _, err = d.Token(); err != nil {
			break
		}
	}
	require.ErrorIs(t, err, io.EOF, "the chart is well-formed XML")
}

func TestCommandRejectsInvalidFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-only", "nothing"}, {"-rounds", "0"}, {"-no-such-flag"}} {
		require.Error(t, command(t.Context(), args, io.Discard, io.Discard), "%v", args)
	}
}

func TestProduceRequestsAreCountedAcrossWrites(t *testing.T) {
	t.Parallel()
	d := &dialer{}
	c := &countedConn{Conn: discardConn{}, dialer: d}
	produce := []byte{0, 0, 0, 4, 0, 0, 0, 9}
	fetch := []byte{0, 0, 0, 5, 0, 1, 0, 9, 7}
	stream := bytes.Join([][]byte{produce, fetch, produce, produce}, nil)
	for cut := 1; cut < len(stream); cut++ {
		d.produced.Store(0)
		for rest := stream; len(rest) > 0; {
			n := min(cut, len(rest))
			_, err := c.Write(rest[:n])
			require.NoError(t, err)
			rest = rest[n:]
		}
		require.EqualValues(t, 3, d.produced.Load(), "in pieces of %d", cut)
	}
}

func TestMedianAndPercentile(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 2, median([]sample{{Rate: 3}, {Rate: 1}, {Rate: 2}}, func(s sample) float64 { return s.Rate }), 0)
	require.Equal(t, 99*time.Microsecond, percentile(steps(100), 0.99)+0)
	require.Zero(t, percentile(nil, 0.5))
	require.Equal(t, "1.50M 150k 1.5k 15 1.5", strings.Join([]string{count(1.5e6), count(150e3), count(1500), count(15), count(1.5)}, " "))
}

func steps(n int) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = time.Duration(i) * time.Microsecond
	}
	return all
}

type discardConn struct{ net.Conn }

func (discardConn) Write(b []byte) (int, error) { return len(b), nil }
