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

// state describes a cluster. Each run of the command loads it from a file, to find the
// processes and to start a node again on its ports.
type state struct {
	Kafka     string `json:"kafka"`
	Libs      string `json:"libs"`
	ClusterID string `json:"cluster_id"`
	Password  string `json:"password,omitempty"` // of the only user of the secured listeners
	Nodes     []node `json:"nodes"`

	dir string
}

type node struct {
	ID             int `json:"id"`
	Port           int `json:"port"`
	ControllerPort int `json:"controller_port"`
	PID            int `json:"pid"`
	// SecurePorts are the ports of the secured listeners, by name; empty with -secure=false.
	SecurePorts map[string]int `json:"secure_ports,omitempty"`

	dir string
}

func (n node) addr() string           { return fmt.Sprintf("127.0.0.1:%d", n.Port) }
func (n node) dataDir() string        { return filepath.Join(n.dir, "data") }
func (n node) propertiesPath() string { return filepath.Join(n.dir, "server.properties") }
func (n node) logPath() string        { return filepath.Join(n.dir, "broker.log") }
func (n node) outputPath() string     { return filepath.Join(n.dir, "output.log") }

// newClusterID returns 16 random bytes in the format of Kafka's cluster IDs. The ID never
// begins with '-', because Kafka's tools would read it as an option.
func newClusterID() string {
	id := make([]byte, 16)
	rand.Read(id)
	id[0] &= 0x7f
	return base64.RawURLEncoding.EncodeToString(id)
}

// newState returns the state of a new cluster. Its ports are free at this moment.
func newState(dir, version, libs string, nodes int, secure bool) (*state, error) {
	s := &state{Kafka: version, Libs: libs, ClusterID: newClusterID(), dir: dir}
	var secured []string
	if secure {
		s.Password = rand.Text()
		secured = securedListeners
	}
	portsPerNode := 2 + len(secured)
	ports, err := freePorts(portsPerNode * nodes)
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		own := ports[portsPerNode*i : portsPerNode*(i+1)]
		n := node{ID: i + 1, Port: own[0], ControllerPort: own[1]}
		for j, name := range secured {
			if n.SecurePorts == nil {
				n.SecurePorts = make(map[string]int)
			}
			n.SecurePorts[name] = own[2+j]
		}
		s.Nodes = append(s.Nodes, n)
	}
	s.setDirs()
	return s, nil
}

// setDirs sets the folder of each node.
func (s *state) setDirs() {
	for i := range s.Nodes {
		s.Nodes[i].dir = filepath.Join(s.dir, fmt.Sprintf("node-%d", s.Nodes[i].ID))
	}
}

// freePorts returns n different free ports. It keeps all of them open until it has n.
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
	s.setDirs()
	return s, nil
}

// save replaces the state file atomically.
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

// remove deletes the files that up has made. It deletes the folder only if it is empty
// then, because the user may keep other files in it.
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
	_ = os.Remove(s.dir) // fails unless it is empty
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the cluster's data: %w", err)
	}
	return nil
}

func (s *state) secure() bool { return s.Password != "" }

// nodesByID returns the nodes with these IDs.
func (s *state) nodesByID(ids []int) ([]*node, error) {
	var picked []*node
	for _, id := range ids {
		if id > len(s.Nodes) {
			return nil, fmt.Errorf("node %d does not exist: this cluster has nodes 1 to %d", id, len(s.Nodes))
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

// lock prevents another command from changing the cluster at the same time. The operating
// system releases the lock when this process ends.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("create the cluster's folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cluster's folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another cluster command is running in %s: wait for it, or set another folder with -dir", dir)
	}
	return func() { f.Close() }, nil
}
