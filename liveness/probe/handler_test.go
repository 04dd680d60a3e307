package probe_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/liveness/probe"
)

func request(handler http.Handler, method, target string) *httptest.ResponseRecorder {
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(method, target, nil))
	return answer
}

func TestHandlerResponses(t *testing.T) {
	t.Parallel()
	none := probe.New()
	running := statuses(probe.Running, probe.Running)
	notReady := statuses(probe.Running, probe.Preparing)
	notReady.Update("s2", probe.NotReady, errRefused)
	failed := statuses(probe.Running)
	failed.Update("bus/a b", probe.Failed, errors.New("refused\n[+]forged ok"))
	closed := probe.New(probe.WithReadyRule(func([]probe.Service) bool { return false }))
	closed.Update("bus", probe.Running, nil)

	for _, tc := range []struct {
		name string
		reg  *probe.Registry
		path string
		code int
		body string
	}{
		{"no service is not ready", none, "/readyz", 503, "no service is registered\nreadyz check failed\n"},
		{"no service is healthy", none, "/livez", 200, "ok"},
		{"no service, verbose", none, "/livez?verbose", 200, "no service is registered\nlivez check passed\n"},

		{"ready", running, "/readyz", 200, "ok"},
		{"ready by its other name", running, "/readz", 200, "ok"},
		{"live", running, "/livez", 200, "ok"},
		{"live by its other name", running, "/healthz", 200, "ok"},
		{"ready, verbose", running, "/readyz?verbose", 200, "[+]s0 ok\n[+]s1 ok\nreadyz check passed\n"},
		{"live, verbose", running, "/healthz?verbose=1", 200, "[+]s0 ok\n[+]s1 ok\nhealthz check passed\n"},
		{"one ready", running, "/readyz/s0", 200, "ok"},
		{"one live", running, "/livez/s0", 200, "ok"},

		{"not ready", notReady, "/readyz", 503, "[+]s0 ok\n[-]s1 not ready: status is Preparing\n[-]s2 not ready: connection refused\nreadyz check failed\n"},
		{"not ready by its other name", notReady, "/readz?verbose", 503, "[+]s0 ok\n[-]s1 not ready: status is Preparing\n[-]s2 not ready: connection refused\nreadz check failed\n"},
		{"not ready is live", notReady, "/livez", 200, "ok"},
		{"one not ready", notReady, "/readyz/s2", 503, "[-]s2 not ready: connection refused\n"},
		{"another one", notReady, "/readz/s0", 200, "ok"},
		{"one not ready is live", notReady, "/livez/s2", 200, "ok"},

		{"failed", failed, "/livez", 503, "[-]bus/a b not healthy: refused; [+]forged ok\n[+]s0 ok\nlivez check failed\n"},
		{"failed is not ready", failed, "/readyz", 503, "[-]bus/a b not ready: refused; [+]forged ok\n[+]s0 ok\nreadyz check failed\n"},
		{"a name with a slash", failed, "/healthz/bus/a%20b", 503, "[-]bus/a b not healthy: refused; [+]forged ok\n"},
		{"a slash that is escaped", failed, "/livez/bus%2Fa%20b", 503, "[-]bus/a b not healthy: refused; [+]forged ok\n"},

		{"custom rule", closed, "/readyz", 503, "[+]bus ok\nreadyz check failed\n"},

		{"no such service", running, "/readyz/s9", 404, "no service \"s9\" is registered\n"},
		{"no name", running, "/readyz/", 404, "no service \"\" is registered\n"},
		{"no such path", running, "/statusz", 404, "404 page not found\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			answer := request(probe.Handler(tc.reg), http.MethodGet, tc.path)
			require.Equal(t, tc.code, answer.Code)
			require.Equal(t, tc.body, answer.Body.String())
			require.Equal(t, "text/plain; charset=utf-8", answer.Header().Get("Content-Type"))
			require.Equal(t, tc.code, request(probe.Handler(tc.reg), http.MethodHead, tc.path).Code)
		})
	}
}

func TestHandlerFollowsTheRegistry(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	handler := probe.Handler(reg)
	for _, step := range []struct {
		status      probe.Status
		ready, live int
	}{{probe.Running, 200, 200}, {probe.NotReady, 503, 200}, {probe.Running, 200, 200}, {probe.Stopped, 503, 503}} {
		reg.Update("bus", step.status, nil)
		require.Equal(t, step.ready, request(handler, http.MethodGet, "/readyz").Code, step.status)
		require.Equal(t, step.live, request(handler, http.MethodGet, "/livez").Code, step.status)
	}
}

func TestHandlerAllowsOnlyGetAndHead(t *testing.T) {
	t.Parallel()
	handler := probe.Handler(statuses(probe.Running))
	for _, path := range []string{"/livez", "/readyz", "/healthz", "/readz", "/readyz/s0", "/detailz"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions} {
			answer := request(handler, method, path)
			require.Equal(t, http.StatusMethodNotAllowed, answer.Code, method+" "+path)
			require.Equal(t, "GET, HEAD", answer.Header().Get("Allow"))
		}
		require.Equal(t, "no-store", request(handler, http.MethodGet, path).Header().Get("Cache-Control"))
	}
}

func TestHandlerOnAnotherMux(t *testing.T) {
	t.Parallel()
	reg := statuses(probe.Running)
	mux := http.NewServeMux()
	mux.Handle("/readyz", probe.Handler(reg))
	mux.Handle("/probe/", http.StripPrefix("/probe", probe.Handler(reg)))
	require.Equal(t, 200, request(mux, http.MethodGet, "/readyz").Code)
	require.Equal(t, 404, request(mux, http.MethodGet, "/livez").Code)
	require.Equal(t, 200, request(mux, http.MethodGet, "/probe/livez").Code)
	require.Equal(t, 200, request(mux, http.MethodGet, "/probe/readyz/s0").Code)
	require.Panics(t, func() { probe.Handler(nil) })
}

func TestDetailzShowsServices(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now().UTC()
		reg := probe.New()
		reg.Register("bus", probe.WithDetails(func(ctx context.Context) map[string]any {
			return map[string]any{"transport": "old"}
		}))
		reg.Register("bus", probe.WithDetails(func(ctx context.Context) map[string]any {
			return map[string]any{"transport": "kafka", "lag": 7, "canceled": ctx.Err() != nil}
		}))
		reg.Register("odd", probe.WithDetails(func(context.Context) map[string]any {
			return map[string]any{"channel": make(chan int)}
		}))
		reg.Register("gone", probe.WithDetails(func(context.Context) map[string]any { panic("must not be called") }))
		reg.Unregister("gone")
		time.Sleep(time.Minute)
		reg.Update("bus", probe.NotReady, errRefused)

		answer := request(probe.Handler(reg), http.MethodGet, "/detailz")
		require.Equal(t, http.StatusOK, answer.Code, "/detailz reports, and checks nothing")
		require.Equal(t, "application/json", answer.Header().Get("Content-Type"))
		var page map[string]map[string]any
		require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &page))
		require.Equal(t, map[string]map[string]any{
			"bus": {
				"status":  "NotReady",
				"cause":   "connection refused",
				"since":   start.Add(time.Minute).Format(time.RFC3339),
				"details": map[string]any{"transport": "kafka", "lag": 7.0, "canceled": false},
			},
			"odd": {
				"status":        "Unknown",
				"since":         start.Format(time.RFC3339),
				"details_error": "json: unsupported type: chan int",
			},
		}, page)
	})
}

func TestDetailzWithoutServices(t *testing.T) {
	t.Parallel()
	answer := request(probe.Handler(probe.New()), http.MethodGet, "/detailz")
	require.Equal(t, http.StatusOK, answer.Code)
	require.JSONEq(t, "{}", answer.Body.String())
}

func TestUnregisterRemovesDetails(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	reg.Register("bus", probe.WithDetails(func(context.Context) map[string]any { return map[string]any{"lag": 7} }))
	require.Contains(t, request(probe.Handler(reg), http.MethodGet, "/detailz").Body.String(), "lag")
	reg.Unregister("bus")
	reg.Register("bus")
	require.NotContains(t, request(probe.Handler(reg), http.MethodGet, "/detailz").Body.String(), "lag")
}

func TestDetailzShowsOneConsistentState(t *testing.T) {
	t.Parallel()
	lag := probe.WithDetails(func(context.Context) map[string]any { return map[string]any{"lag": 7} })
	for name, change := range map[string]func(*probe.Registry){
		"unregister":      func(reg *probe.Registry) { reg.Unregister("b") },
		"replace details": func(reg *probe.Registry) { reg.Register("c", lag) },
		"register":        func(reg *probe.Registry) { reg.Register("d", lag) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := probe.New()
			reg.Register("a", probe.WithDetails(func(context.Context) map[string]any {
				change(reg) // while the page is made
				return nil
			}))
			reg.Register("b", lag)
			reg.Register("c")
			var page map[string]map[string]any
			require.NoError(t, json.Unmarshal(request(probe.Handler(reg), http.MethodGet, "/detailz").Body.Bytes(), &page))
			require.Len(t, page, 3)
			require.Contains(t, page["b"], "details", "b existed when the page was begun")
			require.NotContains(t, page["c"], "details", "c had no details then")
		})
	}
}

func TestHandlerKeepsNamesOnOneLine(t *testing.T) {
	t.Parallel()
	reg := probe.New()
	reg.Update("bus ok\n[+]store", probe.Running, nil)
	require.Equal(t, "[+]bus ok; [+]store ok\nreadyz check passed\n", request(probe.Handler(reg), http.MethodGet, "/readyz?verbose").Body.String())
	reg.Update("bus ok\n[+]store", probe.NotReady, errRefused)
	require.Equal(t, "[-]bus ok; [+]store not ready: connection refused\nreadyz check failed\n", request(probe.Handler(reg), http.MethodGet, "/readyz").Body.String())
}
