package probe

import (
	"fmt"
	"net/http"
	"strings"
)

// aspect is what an endpoint reports, for the registry and for one service.
type aspect struct {
	adjective string
	registry  func(Snapshot) bool
	service   func(Status) bool
}

var (
	readiness = aspect{"ready", func(s Snapshot) bool { return s.Ready }, Status.Ready}
	health    = aspect{"healthy", func(s Snapshot) bool { return s.Healthy }, Status.Healthy}
)

// Handler serves a registry over HTTP, for GET and HEAD:
//
//	/readyz, /readz          200 if the registry is ready, else 503
//	/livez, /healthz         200 if the registry is healthy, else 503
//	/readyz/{name}, ...      the same for one service, by its status only; 404 if it does not exist
//	/detailz                 200, and JSON with the status, cause, since and details of each service
//
// The body is text in the format of Kubernetes: "ok", or, with ?verbose and with every 503,
// one line for each service, [+]name ok or [-]name not ready: cause.
//
// The paths are absolute. On a mux of the program, mount the handler for each path, or
// for all of them below a prefix:
//
//	mux.Handle("/readyz", probe.Handler(reg))
//	mux.Handle("/probe/", http.StripPrefix("/probe", probe.Handler(reg)))
//
// Handler panics if reg is nil, as http.Handle does for a nil handler.
func Handler(reg *Registry) http.Handler {
	if reg == nil {
		panic("probe: Handler needs a registry, got nil")
	}
	mux := http.NewServeMux()
	for path, aspect := range map[string]aspect{"readyz": readiness, "readz": readiness, "livez": health, "healthz": health} {
		mux.HandleFunc("GET /"+path, func(w http.ResponseWriter, r *http.Request) {
			aspect.serveRegistry(w, r, path, reg.Snapshot())
		})
		mux.HandleFunc("GET /"+path+"/{name...}", func(w http.ResponseWriter, r *http.Request) {
			aspect.serveService(w, r.PathValue("name"), reg.Snapshot())
		})
	}
	mux.HandleFunc("GET /detailz", func(w http.ResponseWriter, r *http.Request) {
		serveDetails(w, r, reg)
	})
	return mux
}

func (a aspect) serveRegistry(w http.ResponseWriter, r *http.Request, path string, snap Snapshot) {
	passed := a.registry(snap)
	if passed && !r.URL.Query().Has("verbose") {
		answer(w, http.StatusOK, "ok")
		return
	}
	var body strings.Builder
	for _, s := range snap.Services {
		fmt.Fprintln(&body, a.line(s))
	}
	if len(snap.Services) == 0 {
		fmt.Fprintln(&body, "no service is registered")
	}
	if passed {
		fmt.Fprintf(&body, "%s check passed\n", path)
		answer(w, http.StatusOK, body.String())
		return
	}
	fmt.Fprintf(&body, "%s check failed\n", path)
	answer(w, http.StatusServiceUnavailable, body.String())
}

func (a aspect) serveService(w http.ResponseWriter, name string, snap Snapshot) {
	service, found := snap.Service(name)
	switch {
	case !found:
		answer(w, http.StatusNotFound, fmt.Sprintf("no service %q is registered\n", name))
	case a.service(service.Status):
		answer(w, http.StatusOK, "ok")
	default:
		answer(w, http.StatusServiceUnavailable, a.line(service)+"\n")
	}
}

func (a aspect) line(s Service) string {
	if a.service(s.Status) {
		return fmt.Sprintf("[+]%s ok", oneLine(s.Name))
	}
	return fmt.Sprintf("[-]%s not %s: %s", oneLine(s.Name), a.adjective, s.why())
}

func answer(w http.ResponseWriter, code int, body string) {
	header(w, "text/plain; charset=utf-8")
	w.WriteHeader(code)
	// An error means that the client has disconnected.
	_, _ = w.Write([]byte(body))
}

func header(w http.ResponseWriter, contentType string) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}
