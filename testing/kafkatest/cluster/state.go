//go:build unix

package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	stateFile   = "state.json"
	lockFile    = "lock"
	loggingFile = "log4j2.properties"
)

// state is what one run of the command leaves for the next: enough to find the
// processes and to start a node again on its ports.
type state struct {
	Kafka     string `json:"kafka"`
	Libs      string `json:"libs"`
	ClusterID string `json:"cluster_id"`
	Password  string `json:"password,omitempty"` // of the secured listeners' one user
	Nodes     []node `json:"nodes"`

	dir string
}

type node struct {
	ID             int `json:"id"`
	Port           int `json:"port"`
	ControllerPort int `json:"controller_port"`
	PID            int `json:"pid"`
	// SecurePorts are those of the secured listeners, by name; none with -secure=false.
	SecurePorts map[string]int `json:"secure_ports,omitempty"`

	dir string
}

func (n node) addr() string           { return fmt.Sprintf("127.0.0.1:%d", n.Port) }
func (n node) dataDir() string        { return filepath.Join(n.dir, "data") }
func (n node) propertiesPath() string { return filepath.Join(n.dir, "server.properties") }
func (n node) logPath() string        { return filepath.Join(n.dir, "broker.log") }
func (n node) outputPath() string     { return filepath.Join(n.dir, "output.log") }

// newClusterID returns 16 random bytes in Kafka's form. They never begin with '-', which
// Kafka's own tools would take for an option.
func newClusterID() string {
	id := make([]byte, 16)
	rand.Read(id)
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id)
}

// newState makes the plan of a cluster whose ports are free at this moment.
func newState(dir, version, libs string, nodes int, secure bool) (*state, error) {
	s := &state{Kafka: version, Libs: libs, ClusterID: newClusterID(), dir: dir}
	var secured []string
	if secure {
		s.Password = rand.Text()
		secured = securedListeners
	}
	each := 2 + len(secured)
	ports, err := freePorts(each * nodes)
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		own := ports[each*i : each*(i+1)]
		n := node{ID: i + 1, Port: own[0], ControllerPort: own[1]}
		for j, name := range secured {
			if n.SecurePorts == nil {
				n.SecurePorts = make(map[string]int)
			}
			n.SecurePorts[name] = own[2+j]
		}
		s.Nodes = append(s.Nodes, n)
	}
	s.place()
	return s, nil
}

// place tells each node its folder.
func (s *state) place() {
	for i := range s.Nodes {
		s.Nodes[i].dir = filepath.Join(s.dir, fmt.Sprintf("node-%d", s.Nodes[i].ID))
	}
}

// freePorts holds all of them open until it has them, so they differ.
func freePorts(n int) ([]int, error) {
	ports := make([]int, n)
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer ln.Close()
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}

func load(dir string) (*state, error) {
	path := filepath.Join(dir, stateFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the cluster's state: %w", err)
	}
	s := &state{dir: dir}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("read the cluster's state from %s: %w", path, err)
	}
	s.place()
	return s, nil
}

// save replaces the state file in one step.
func (s *state) save() error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write the cluster's state: %w", err)
	}
	path := filepath.Join(s.dir, stateFile)
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the cluster's state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the cluster's state: %w", err)
	}
	return nil
}

// remove deletes what up made, and the folder itself when nothing else is in
// it. The folder came from the user and may hold what is not ours.
func (s *state) remove() error {
	var errs []error
	for _, n := range s.Nodes {
		errs = append(errs, os.RemoveAll(n.dir))
	}
	errs = append(errs, os.RemoveAll(filepath.Join(s.dir, secureDir)))
	for _, name := range []string{loggingFile, lockFile, stateFile} {
		if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	_ = os.Remove(s.dir) // refused unless empty
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the cluster's data: %w", err)
	}
	return nil
}

func (s *state) secure() bool { return s.Password != "" }

func (s *state) pick(ids []int) ([]*node, error) {
	var picked []*node
	for _, id := range ids {
		if id > len(s.Nodes) {
			return nil, fmt.Errorf("no node %d: this cluster has nodes 1 to %d", id, len(s.Nodes))
		}
		picked = append(picked, &s.Nodes[id-1])
	}
	return picked, nil
}

func (s *state) addrs() string {
	addrs := make([]string, len(s.Nodes))
	for i, n := range s.Nodes {
		addrs[i] = n.addr()
	}
	return strings.Join(addrs, ",")
}

// lock keeps a second command away from the same cluster. The operating system
// lets go of it however this process ends.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cluster's folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cluster's folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another cluster command is at work in %s: wait for it, or name another folder with -dir", dir)
	}
	return func() { f.Close() }, nil
}
