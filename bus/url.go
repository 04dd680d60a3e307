package bus

import (
	"context"
	"strconv"
	"time"

	"github.com/trunkline/trunkline/bus/driver"
)

// Open returns a bus for a URL: memory://name, chan://name, kafka://host1:9092,host2:9092. The
// program must import the package of the transport, which documents the parameters of its URLs.
// Every transport also has these parameters:
//
//	group   the consumer group of subscriptions that do not set one, see Group
//	start   oldest or newest: where subscriptions start by default, see FromOldest and FromNewest
//	create  true: create missing topics when they are first used, see WithCreateTopics
//	close   how long Close may take, see WithCloseTimeout
//
// An unknown scheme or parameter is an error with CodeInvalidArgument. So are credentials: a URL
// must not have any. Open does not wait for a broker; [Bus.Ready] does.
func Open(ctx context.Context, url string, opts ...Option) (*Bus, error) {
	u, err := driver.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return OpenURL(ctx, u, opts...)
}

// OpenURL is [Open] for a URL that the caller has parsed and may have changed, for example to set
// a credential.
func OpenURL(ctx context.Context, u *driver.URL, opts ...Option) (*Bus, error) {
	var own []Option
	if g := u.Text("group", ""); g != "" {
		own = append(own, WithSubscribeDefaults(Group(g)))
	}
	switch start := u.Text("start", ""); start {
	case "":
	case "oldest":
		own = append(own, WithSubscribeDefaults(FromOldest()))
	case "newest":
		own = append(own, WithSubscribeDefaults(FromNewest()))
	default:
		return nil, &Error{Code: CodeInvalidArgument, Op: "open", Transport: u.Scheme, Reason: "the URL parameter start must be oldest or newest, got " + strconv.Quote(start)}
	}
	if u.Bool("create", false) {
		own = append(own, WithCreateTopics(TopicSpec{}))
	}
	if d := u.Duration("close", 0); d > 0 {
		own = append(own, WithCloseTimeout(d))
	}
	t, err := driver.OpenURL(ctx, u)
	if err != nil {
		return nil, err
	}
	b, err := New(t, append(own, opts...)...)
	if err != nil {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = t.Close(cctx) // the error to return is that of New
		return nil, err
	}
	return b, nil
}
