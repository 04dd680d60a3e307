package kafka

import (
	"errors"
	"sync"
	"time"
)

// errIsolated is the error of a dial to an isolated broker.
var errIsolated = errors.New("the broker does not answer while others do")

// isolation is the set of brokers that hang. The networks that newNetwork makes share it.
// They close their connections to an isolated broker and do not dial it.
type isolation struct {
	mu       sync.Mutex
	networks map[*network]struct{}
	addrs    map[string]struct{} // of isolated brokers
}

func newIsolation() *isolation {
	return &isolation{networks: make(map[*network]struct{}), addrs: make(map[string]struct{})}
}

func (s *isolation) add(n *network) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.networks[n] = struct{}{}
}

func (s *isolation) remove(n *network) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.networks, n)
}

func (s *isolation) contains(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, isolated := s.addrs[addr]
	return isolated
}

// isolate makes dials to addr fail, and closes the connections to it.
func (s *isolation) isolate(addr string) {
	s.mu.Lock()
	s.addrs[addr] = struct{}{}
	networks := make([]*network, 0, len(s.networks))
	for n := range s.networks {
		networks = append(networks, n)
	}
	s.mu.Unlock()
	for _, n := range networks {
		n.resetAddr(addr)
	}
}

func (s *isolation) readmit(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.addrs, addr)
}

// overdue returns the addresses of brokers that have not answered a request for longer than
// d.
func (s *isolation) overdue(d time.Duration) map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make(map[string]bool)
	for n := range s.networks {
		n.addOverdue(d, found)
	}
	return found
}
