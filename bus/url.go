package bus

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Opener makes a transport from a URL. It takes the parameters it knows from u and
// must return u.Done()'s error. Faults that only the local side has fail at once;
// an absent broker is no fault.
type Opener func(ctx context.Context, u *driver.URL) (driver.Transport, error)

var openers = struct {
	sync.RWMutex
	m map[string]Opener
}{m: map[string]Opener{}}

// Register makes a scheme known to Open. A transport's package calls it in init,
// so importing it for its side effect is enough. It panics when the scheme is
// registered already: two packages claim it.
func Register(scheme string, open Opener) {
	openers.Lock()
	defer openers.Unlock()
	if _, ok := openers.m[scheme]; ok {
		panic("bus: scheme " + strconv.Quote(scheme) + " is registered twice")
	}
	openers.m[scheme] = open
}

// Open makes a bus from a URL: memory://name, chan://name, kafka://h1:9092,h2:9092.
// The transport's package has to be imported; it documents its parameters. These
// are the bus's own, on every transport:
//
//	group   the consumer group of Subscribe, and of Consume when it names none
//	start   oldest or newest: where both begin, see StartAt
//	create  true: topics that are missing are created on first use
//	close   how long Close may take, see WithCloseTimeout
//
// An unknown scheme or parameter is an CodeInvalidArgument error. Credentials have no
// place in a URL.
func Open(ctx context.Context, url string, opts ...Option) (*Bus, error) {
	u, err := driver.ParseURL(url)
	if err != nil {
		return nil, err
	}
	var own []Option
	if g := u.Text("group", ""); g != "" {
		own = append(own, WithSubscribeDefaults(Group(g)))
	}
	switch start := u.Text("start", ""); start {
	case "":
	case "oldest":
		own = append(own, WithSubscribeDefaults(StartAt(Oldest())))
	case "newest":
		own = append(own, WithSubscribeDefaults(StartAt(Newest())))
	default:
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Transport: u.Scheme, Reason: "URL parameter start is neither oldest nor newest"}
	}
	if u.Bool("create", false) {
		own = append(own, WithCreateTopics(TopicSpec{}))
	}
	if d := u.Duration("close", 0); d > 0 {
		own = append(own, WithCloseTimeout(d))
	}
	t, err := openTransport(ctx, u)
	if err != nil {
		return nil, err
	}
	b, err := New(t, append(own, opts...)...)
	if err != nil {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = t.Close(cctx) // the caller is told why the bus could not be made
		return nil, err
	}
	return b, nil
}

// OpenTransport makes the transport alone, for those who wrap it before they give
// it to New. The bus's own parameters are unknown to it.
func OpenTransport(ctx context.Context, url string) (driver.Transport, error) {
	u, err := driver.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return openTransport(ctx, u)
}

func openTransport(ctx context.Context, u *driver.URL) (driver.Transport, error) {
	openers.RLock()
	open, ok := openers.m[u.Scheme]
	known := slices.Sorted(maps.Keys(openers.m))
	openers.RUnlock()
	if !ok {
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Reason: "unknown bus scheme " + strconv.Quote(u.Scheme) +
			": known are " + strings.Join(known, ", ") + " (is the transport's package imported?)"}
	}
	return open(ctx, u)
}
