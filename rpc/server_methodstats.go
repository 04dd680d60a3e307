package rpc

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// MethodStats are the counts of one method since the server was made. The server reads the
// fields one after another, so the counts may be slightly inconsistent with each other.
type MethodStats struct {
	Method string `json:"method"`
	// Requests is the number of handlers that were started. Replies from the replay cache
	// do not count.
	Requests uint64 `json:"requests"`
	// Errors is the number of errors that were returned, by the name of their code.
	Errors map[string]uint64 `json:"errors,omitempty"`
	// InFlight is the number of handlers that run now.
	InFlight int `json:"in_flight"`
	// Latency is how long the handlers that have ended ran, interceptors included.
	Latency Latency `json:"latency"`
	// LastError is the latest error, or nil.
	LastError *LastError `json:"last_error,omitempty"`
}

// LastError is the latest error that a method returned.
type LastError struct {
	At time.Time `json:"at"`
	// Code is the name of the status code.
	Code string `json:"code"`
	// Message is the status message, truncated after 256 bytes.
	Message string `json:"message"`
}

const maxLastError = 256

type methodStats struct {
	requests atomic.Uint64
	inFlight atomic.Int64
	errors   [int(codes.Unauthenticated) + 1]atomic.Uint64
	latency  histogram
	last     atomic.Pointer[LastError]
}

// fail counts an error. A code that gRPC does not define counts as Unknown.
func (m *methodStats) fail(at time.Time, st *status.Status) {
	code := st.Code()
	if int(code) >= len(m.errors) {
		code = codes.Unknown
	}
	m.errors[code].Add(1)
	text := st.Message()
	if len(text) > maxLastError {
		text = strings.ToValidUTF8(text[:maxLastError], "")
	}
	m.last.Store(&LastError{At: at, Code: code.String(), Message: strings.Clone(text)})
}

func (m *method) snapshot() MethodStats {
	s := MethodStats{Method: m.Name, Requests: m.stats.requests.Load(), InFlight: int(m.stats.inFlight.Load()),
		Latency: m.stats.latency.latency(), LastError: m.stats.last.Load()}
	for code := range m.stats.errors {
		if n := m.stats.errors[code].Load(); n > 0 {
			if s.Errors == nil {
				s.Errors = map[string]uint64{}
			}
			s.Errors[codes.Code(code).String()] = n
		}
	}
	return s
}

// MethodStats returns the current counts of every method, sorted by name.
func (s *Server) MethodStats() []MethodStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]MethodStats, 0, len(s.methods))
	for _, m := range s.methods {
		all = append(all, m.snapshot())
	}
	slices.SortFunc(all, func(a, b MethodStats) int { return cmp.Compare(a.Method, b.Method) })
	return all
}
