package livenessotel_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.yaml.in/yaml/v3"

	"github.com/trunkline/trunkline/bus"
)

var monitoring = filepath.Join("..", "..", "docs", "monitoring")

// units are the suffixes that the Prometheus exporter of OpenTelemetry appends for units. A
// unit in braces has none.
var units = map[string]string{"s": "_seconds", "": ""}

// prometheus returns the names of a metric in Prometheus, and the set of its labels.
func prometheus(t *testing.T, m metricdata.Metrics) (names []string, labels map[string]bool) {
	t.Helper()
	name := strings.ReplaceAll(m.Name, ".", "_")
	suffix, known := units[m.Unit]
	require.True(t, known || strings.HasPrefix(m.Unit, "{"), "%s has the unit %q", m.Name, m.Unit)
	name += suffix
	labels = map[string]bool{"instance": true, "job": true}
	add := func(s attribute.Set) {
		for _, kv := range s.ToSlice() {
			labels[strings.ReplaceAll(string(kv.Key), ".", "_")] = true
		}
	}
	switch d := m.Data.(type) {
	case metricdata.Gauge[int64]:
		names = []string{name}
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Gauge[float64]:
		names = []string{name}
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Sum[int64]:
		names = []string{name + "_total"}
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	case metricdata.Histogram[float64]:
		names = []string{name + "_bucket", name + "_sum", name + "_count"}
		labels["le"] = true
		for _, p := range d.DataPoints {
			add(p.Attributes)
		}
	default:
		t.Fatalf("%s is a %T", m.Name, m.Data)
	}
	return names, labels
}

// known returns the labels of every metric, by its name in Prometheus.
func known(t *testing.T) map[string]map[string]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r := newRig(t)
	require.NoError(t, r.bus.EnsureTopic(ctx, bus.TopicSpec{Name: "orders", Partitions: 1}))
	handled := make(chan struct{}, 1)
	_, err := r.bus.Consume(ctx, "orders", func(context.Context, *bus.Delivery) error { handled <- struct{}{}; return nil }, bus.Group("billing"))
	require.NoError(t, err)
	require.NoError(t, r.bus.Publish("orders", message.NewMessage("id", nil)))
	select {
	case <-handled: // so there is a lag
	case <-ctx.Done():
		require.FailNow(t, "the message was not delivered")
	}
	r.awaitSubscription(t)
	r.transport.fail(&bus.Error{Code: bus.CodeUnavailable, Op: "ping"})
	r.awaitFailedPing(t)
	all := make(map[string]map[string]bool)
	for _, m := range r.collect(t) {
		names, labels := prometheus(t, m)
		for _, name := range names {
			all[name] = labels
		}
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\btrunkline_(?:liveness|subscription|check)_\w+`)
	selector   = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping   = regexp.MustCompile(`\bby\s*\(([^)]*)\)`)
	template   = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
)

// checkExpression returns the metrics in an expression. Each of them must exist, and have
// the labels that are used in the expression and in the texts.
func checkExpression(t *testing.T, all map[string]map[string]bool, where, expression string, texts ...string) []string {
	t.Helper()
	names := metricName.FindAllString(expression, -1)
	require.NotEmpty(t, names, "%s names no metric: %s", where, expression)
	var labels []string
	for _, m := range selector.FindAllStringSubmatch(expression, -1) {
		labels = append(labels, m[1])
	}
	for _, m := range grouping.FindAllStringSubmatch(expression, -1) {
		for label := range strings.SplitSeq(m[1], ",") {
			labels = append(labels, strings.TrimSpace(label))
		}
	}
	for _, text := range texts {
		for _, m := range template.FindAllStringSubmatch(text, -1) {
			labels = append(labels, m[1])
		}
	}
	for _, name := range names {
		require.Contains(t, all, name, "%s: there is no such metric", where)
		for _, label := range labels {
			require.True(t, all[name][label], "%s: %s has no label %q", where, name, label)
		}
	}
	require.Equal(t, strings.Count(expression, "("), strings.Count(expression, ")"), where)
	return names
}

func TestDashboardUsesExistingMetrics(t *testing.T) {
	t.Parallel()
	all := known(t)
	raw, err := os.ReadFile(filepath.Join(monitoring, "grafana-dashboard.json"))
	require.NoError(t, err)
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr, LegendFormat string }
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      json.RawMessage
			}
		}
	}
	require.NoError(t, json.Unmarshal(raw, &dashboard))
	shown, ids := make(map[string]bool), make(map[int]bool)
	for _, p := range dashboard.Panels {
		require.NotEmpty(t, p.Targets, p.Title)
		require.False(t, ids[p.ID], "%s: another panel has this ID", p.Title)
		ids[p.ID] = true
		for _, target := range p.Targets {
			for _, name := range checkExpression(t, all, p.Title, target.Expr, target.LegendFormat) {
				shown[name] = true
			}
		}
	}
	for _, v := range dashboard.Templating.List {
		for _, name := range metricName.FindAllString(string(v.Query), -1) {
			require.Contains(t, all, name, v.Name)
		}
	}
	for name := range all {
		if !strings.HasSuffix(name, "_sum") {
			require.True(t, shown[name], "the dashboard does not show %s", name)
		}
	}
}

func TestAlertRulesUseExistingMetrics(t *testing.T) {
	t.Parallel()
	all := known(t)
	raw, err := os.ReadFile(filepath.Join(monitoring, "prometheus-alerts.yaml"))
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(raw)))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&file))
	require.NotEmpty(t, file.Groups)
	seen := make(map[string]bool)
	for _, g := range file.Groups {
		require.NotEmpty(t, g.Rules, g.Name)
		for _, r := range g.Rules {
			require.NotEmpty(t, r.Alert)
			require.False(t, seen[r.Alert], r.Alert)
			seen[r.Alert] = true
			var texts []string
			for _, text := range r.Annotations {
				texts = append(texts, text)
			}
			checkExpression(t, all, r.Alert, r.Expr, texts...)
			require.Contains(t, []string{"warning", "critical"}, r.Labels["severity"], r.Alert)
			require.NotEmpty(t, r.Annotations["summary"], r.Alert)
			if r.For != "" {
				_, err := time.ParseDuration(r.For)
				require.NoError(t, err, r.Alert)
			}
		}
	}
}

func TestKnownMetricsHavePrometheusNames(t *testing.T) {
	t.Parallel()
	all := known(t)
	require.NotContains(t, all, "trunkline_liveness_transitions", "a counter's name ends in _total")
	require.Contains(t, all, "trunkline_liveness_transitions_total")
	require.Contains(t, all, "trunkline_liveness_ping_duration_seconds_bucket")
	require.False(t, all["trunkline_liveness_ready"]["le"])
}
