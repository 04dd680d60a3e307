package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Limits for requests. The responses are small, so a client that needs longer is stuck.
const (
	readTimeout    = 5 * time.Second
	writeTimeout   = 10 * time.Second
	idleTimeout    = time.Minute
	maxHeaderBytes = 16 << 10
)

// listenTimeout limits NewServer, which may have to resolve a host name.
const listenTimeout = 10 * time.Second

// DefaultCloseTimeout is how long a [Server] waits for requests in flight when it closes.
const DefaultCloseTimeout = 5 * time.Second

// Server serves [Handler] on an address of its own, over plain HTTP. For TLS, or to share
// a port, mount the handler on a server of the program.
//
// [NewServer] listens on the address, and [Server.Run] serves the requests. All methods are
// safe for concurrent use.
type Server struct {
	listener     net.Listener
	http         *http.Server
	closeTimeout time.Duration
	logger       *slog.Logger

	running  atomic.Bool
	downOnce sync.Once
	down     chan struct{} // closed when the first Shutdown has returned
}

// ServerOption configures a [Server].
type ServerOption func(*Server)

// WithCloseTimeout sets how long [Server.Close] and the end of [Server.Run] wait for
// requests in flight. Then the server closes their connections. With 0 or less it closes
// them at once. The default is [DefaultCloseTimeout].
func WithCloseTimeout(d time.Duration) ServerOption {
	return func(s *Server) { s.closeTimeout = d }
}

// WithLogger sets the logger for faults of single connections and requests, which cannot
// be returned to a caller. The default is slog.Default at the time of NewServer, also if
// logger is nil.
func WithLogger(logger *slog.Logger) ServerOption {
	return func(s *Server) { s.logger = logger }
}

// NewServer listens on addr, a TCP "host:port", and returns a server for reg. Port 0
// selects a free port; [Server.Addr] returns it. NewServer returns an error if reg is nil,
// or if it cannot listen on addr. Requests wait until [Server.Run] is called. A server that
// is not run must be closed.
func NewServer(addr string, reg *Registry, opts ...ServerOption) (*Server, error) {
	if reg == nil {
		return nil, errors.New("probe: new server: the registry is nil")
	}
	s := &Server{closeTimeout: DefaultCloseTimeout, down: make(chan struct{})}
	for _, opt := range opts {
		opt(s)
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	ctx, cancel := context.WithTimeout(context.Background(), listenTimeout)
	defer cancel()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("probe: cannot listen on %q, use a free host:port: %w", addr, err)
	}
	s.listener = listener
	s.http = &http.Server{
		Handler:           Handler(reg),
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn),
	}
	return s, nil
}

// Addr returns the address that the server listens on, with its port.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Run serves requests until ctx ends, or until Shutdown or Close is called. It then returns
// nil. When ctx ends, Run calls Close and returns its error. Any other error means that the
// server failed, for example because it cannot accept connections. Run can be called once.
func (s *Server) Run(ctx context.Context) error {
	if !s.running.CompareAndSwap(false, true) {
		return fmt.Errorf("probe: the server on %s was run before: make another one", s.Addr())
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()

	select {
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
			<-s.down // Shutdown is under way
			return nil
		}
		return errors.Join(fmt.Errorf("probe: the server on %s failed: %w", s.Addr(), err), s.Close())
	case <-ctx.Done():
		err := s.Close()
		<-served
		return err
	}
}

// Shutdown stops listening, and waits until requests in flight have finished. If ctx ends
// first, Shutdown closes their connections and returns an error. It is idempotent.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.downOnce.Do(func() { close(s.down) })
	err := s.http.Shutdown(ctx)
	if err != nil {
		// Close returns only errors of connections that are closed anyway.
		_ = s.http.Close()
		err = fmt.Errorf("probe: the server on %s closed connections with requests in flight: %w", s.Addr(), err)
	}
	// If the server was never run, http.Server does not have the listener.
	if lerr := s.listener.Close(); lerr != nil && !errors.Is(lerr, net.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("probe: close the listener on %s: %w", s.Addr(), lerr))
	}
	return err
}

// Close is [Server.Shutdown] with the time-out of [WithCloseTimeout].
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.closeTimeout)
	defer cancel()
	return s.Shutdown(ctx)
}
