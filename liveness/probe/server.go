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

// Bounds for clients: these endpoints are small, and a stuck client must cost
// little.
const (
	listenTimeout     = 10 * time.Second
	readTimeout       = 5 * time.Second
	writeTimeout      = 10 * time.Second
	idleTimeout       = time.Minute
	maxHeaderBytes    = 16 << 10
	defaultStopWithin = 5 * time.Second
)

// Server serves [Handler] on an address of its own, over plain HTTP. For TLS, or
// to share a port, mount the handler on a server of your own.
//
// A server listens from [NewServer] on, serves during [Server.Serve], and is
// done when that returns, or by [Server.Close]. Methods may be called
// concurrently.
type Server struct {
	listener   net.Listener
	http       *http.Server
	stopWithin time.Duration
	logger     *slog.Logger

	serving atomic.Bool
	close   func() error
}

// ServerOption configures a [Server].
type ServerOption func(*Server)

// WithStopTimeout bounds how long [Server.Serve] goes on with requests in
// flight after its context has ended; then they are cut off. The default is 5 s;
// zero or less cuts them off at once.
func WithStopTimeout(d time.Duration) ServerOption {
	return func(s *Server) { s.stopWithin = d }
}

// WithLogger sets where to report faults of single connections and requests,
// which no call could return. The default is slog.Default at the time of
// NewServer; nil stands for the default.
func WithLogger(logger *slog.Logger) ServerOption {
	return func(s *Server) { s.logger = logger }
}

// NewServer listens on addr, a TCP "host:port" (port 0 picks a free one, see
// [Server.Addr]), and returns a server for reg. It fails if reg is nil or addr
// can't be listened on. Requests wait until [Server.Serve] is called; a server
// that is never served must be closed.
func NewServer(addr string, reg *Registry, opts ...ServerOption) (*Server, error) {
	if reg == nil {
		return nil, errors.New("probe: NewServer needs a registry, got nil")
	}
	s := &Server{stopWithin: defaultStopWithin}
	for _, opt := range opts {
		opt(s)
	}
	if s.logger == nil {
		s.logger = slog.Default()
	}
	// A host name may have to be resolved.
	ctx, cancel := context.WithTimeout(context.Background(), listenTimeout)
	defer cancel()
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("probe: can't serve the probe on %q, give it a free host:port: %w", addr, err)
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
	s.close = sync.OnceValue(func() error {
		// The http.Server closes only a listener that it was given already.
		err := errors.Join(s.http.Close(), s.listener.Close())
		if err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("probe: closing the probe server on %s: %w", s.listener.Addr(), err)
		}
		return nil
	})
	return s, nil
}

// Addr returns the address listened on, with the port that was picked.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Serve answers requests until ctx ends or [Server.Close] is called, and then
// returns nil. When ctx ends no new requests are taken, and those in flight have
// the stop timeout to finish; if some do not, they are cut off and the error
// says so. Otherwise an error means that the server could not go on. Serve can
// be called once.
func (s *Server) Serve(ctx context.Context) error {
	if !s.serving.CompareAndSwap(false, true) {
		return fmt.Errorf("probe: the probe server on %s was served already: make another one", s.Addr())
	}
	defer s.Close()
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()

	select {
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
			return nil // by Close
		}
		return fmt.Errorf("probe: the probe server on %s can't go on: %w", s.Addr(), err)
	case <-ctx.Done():
	}

	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.stopWithin)
	defer cancel()
	err := s.http.Shutdown(stop)
	closeErr := s.Close()
	<-served
	if err != nil {
		return fmt.Errorf("probe: connections to %s were still busy and cut off after %v: %w", s.Addr(), s.stopWithin, err)
	}
	return closeErr
}

// Close stops listening and cuts off what is in flight; Serve then returns. It
// is for a server that is not served, or must stop at once; otherwise end
// Serve's context. Close does not wait for Serve, and may be called repeatedly.
func (s *Server) Close() error { return s.close() }
