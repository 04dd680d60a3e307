// Package kubernetes_test checks the manifest against the programs that it deploys.
package kubernetes_test

import (
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/internal/leaktest"
	"github.com/trunkline/trunkline/liveness/probe"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

type httpProbe struct {
	HTTPGet struct {
		Path string `yaml:"path"`
		Port string `yaml:"port"`
	} `yaml:"httpGet"`
	PeriodSeconds    int `yaml:"periodSeconds"`
	TimeoutSeconds   int `yaml:"timeoutSeconds"`
	FailureThreshold int `yaml:"failureThreshold"`
}

type container struct {
	Name  string   `yaml:"name"`
	Image string   `yaml:"image"`
	Args  []string `yaml:"args"`
	Ports []struct {
		Name string `yaml:"name"`
		Port int    `yaml:"containerPort"`
	} `yaml:"ports"`
	Startup   httpProbe `yaml:"startupProbe"`
	Liveness  httpProbe `yaml:"livenessProbe"`
	Readiness httpProbe `yaml:"readinessProbe"`
}

func (c *container) port(name string) string {
	for _, p := range c.Ports {
		if p.Name == name {
			return strconv.Itoa(p.Port)
		}
	}
	return ""
}

type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec struct {
		Selector map[string]any `yaml:"selector"`
		Ports    []struct {
			Name   string `yaml:"name"`
			Target string `yaml:"targetPort"`
		} `yaml:"ports"`
		Template struct {
			Metadata struct {
				Labels map[string]any `yaml:"labels"`
			} `yaml:"metadata"`
			Spec struct {
				Grace      int         `yaml:"terminationGracePeriodSeconds"`
				Containers []container `yaml:"containers"`
			} `yaml:"spec"`
		} `yaml:"template"`
	} `yaml:"spec"`
}

func manifest(t *testing.T) map[string]object {
	t.Helper()
	f, err := os.Open("trunkline.yaml")
	require.NoError(t, err)
	defer f.Close()
	found := make(map[string]object)
	for d := yaml.NewDecoder(f); ; {
		var o object
		err := d.Decode(&o)
		if errors.Is(err, io.EOF) {
			return found
		}
		require.NoError(t, err)
		key := o.Kind + "/" + o.Metadata.Name
		require.NotContains(t, found, key)
		found[key] = o
	}
}

// get sends a request to the handler of a process whose bus has this status.
func get(path string, status probe.Status) int {
	reg := probe.New()
	reg.Update(trunkline.BusService, status, nil)
	w := httptest.NewRecorder()
	probe.Handler(reg).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code
}

func port(t *testing.T, addr string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	require.False(t, net.ParseIP(host).IsLoopback(), "%s: the kubelet cannot reach a loopback address", addr)
	return port
}

func TestManifestMatchesThePrograms(t *testing.T) {
	t.Parallel()
	all := manifest(t)
	for _, name := range []string{"core", "adapter"} {
		o, ok := all["Deployment/"+name]
		require.True(t, ok, name)
		require.DirExists(t, filepath.Join("..", name), "the program exists")
		require.Equal(t, map[string]any{"matchLabels": o.Spec.Template.Metadata.Labels}, o.Spec.Selector)
		require.Len(t, o.Spec.Template.Spec.Containers, 1)
		c := o.Spec.Template.Spec.Containers[0]

		cfg := trunkline.DefaultConfig()
		cfg.GRPCAddr = "127.0.0.1:9090" // core has a gRPC server
		flags := flag.NewFlagSet(name, flag.ContinueOnError)
		cfg.RegisterFlags(flags)
		require.NoError(t, flags.Parse(c.Args))
		require.Empty(t, flags.Args())
		require.NoError(t, cfg.Validate())
		require.Equal(t, name, cfg.Service)
		u, err := driver.ParseURL(cfg.BusURL)
		require.NoError(t, err)
		require.Equal(t, "kafka", u.Scheme)
		require.Equal(t, port(t, cfg.ProbeAddr), c.port("probe"))
		require.Greater(t, time.Duration(o.Spec.Template.Spec.Grace)*time.Second, cfg.ShutdownTimeout)

		for kind, p := range map[string]httpProbe{"startup": c.Startup, "liveness": c.Liveness, "readiness": c.Readiness} {
			require.NotEmpty(t, c.port(p.HTTPGet.Port), "%s: %s probe: no port %q", name, kind, p.HTTPGet.Port)
			require.Equal(t, "probe", p.HTTPGet.Port)
			require.Equal(t, http.StatusOK, get(p.HTTPGet.Path, probe.Running), "%s: %s", name, kind)
			require.Positive(t, p.PeriodSeconds)
			require.Positive(t, p.TimeoutSeconds)
			require.Positive(t, p.FailureThreshold)
		}
		for kind, p := range map[string]httpProbe{"startup": c.Startup, "liveness": c.Liveness} {
			require.Equal(t, http.StatusOK, get(p.HTTPGet.Path, probe.NotReady), "%s: %s: a lost broker must not restart the pod", name, kind)
			require.Equal(t, http.StatusOK, get(p.HTTPGet.Path, probe.Prepared), "%s: %s: a broker that is not available yet must not restart the pod", name, kind)
			require.Equal(t, http.StatusServiceUnavailable, get(p.HTTPGet.Path, probe.Failed), "%s: %s", name, kind)
		}
		require.Equal(t, http.StatusServiceUnavailable, get(c.Readiness.HTTPGet.Path, probe.NotReady), name)
		require.Equal(t, http.StatusServiceUnavailable, get(c.Readiness.HTTPGet.Path, probe.Prepared), name)
	}
	core := all["Deployment/core"]
	c := core.Spec.Template.Spec.Containers[0]
	service, ok := all["Service/core"]
	require.True(t, ok)
	require.Equal(t, core.Spec.Template.Metadata.Labels, service.Spec.Selector)
	require.Len(t, service.Spec.Ports, 1)
	require.NotEmpty(t, c.port(service.Spec.Ports[0].Target))
	cfg := trunkline.DefaultConfig()
	cfg.GRPCAddr = "127.0.0.1:9090"
	flags := flag.NewFlagSet("core", flag.ContinueOnError)
	cfg.RegisterFlags(flags)
	require.NoError(t, flags.Parse(c.Args))
	require.Equal(t, port(t, cfg.GRPCAddr), c.port("grpc"))
	require.Len(t, all, 3, "the test covers every object of the manifest")
}
