package rpc

import (
	"context"
	"math/rand/v2"
	"regexp"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/seam"
)

// repliesConfig is where a client's replies go.
type repliesConfig struct {
	own    bool // a topic of the client's own, by spec without name
	shared bool // a partition of spec's topic
	spec   bus.TopicSpec
}

// ReplyTopic gives the client a reply topic and a reader of its own, and sets
// replication and configuration of the topic, where topics are created. Name and
// Partitions must be left zero: the client chooses. Default: the clients of a bus have
// one topic together, with the transport's defaults.
func ReplyTopic(spec bus.TopicSpec) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if spec.Name != "" || spec.Partitions != 0 {
			return invalidOption("the reply topic's name and partitions are the client's choice")
		}
		if c.replies.shared {
			return errTwoAddresses
		}
		c.replies = repliesConfig{own: true, spec: spec}
		return nil
	})
}

// SharedReplies lets the replies come to a topic that many instances share, so that
// instances that come and go leave no topics behind. Each bus picks one of its partitions, at random,
// and reads that alone; servers answer to exactly that partition. Several instances
// may have the same: each reads all of its replies and drops the others'.
//
// The topic is created by spec unless it is there, and never deleted: give it a short
// retention. It needs a name, at best one that begins with "trunkline.reply.", which
// servers answer to by default (see ReplyTopics). Clients of one bus that name the same
// topic share one reader. It is for transports whose topics have partitions and are
// created (Kafka, memory); on others NewClient fails with codes.Unimplemented. All
// clients of one topic have the same wire.
func SharedReplies(spec bus.TopicSpec) ClientOption {
	return clientOption(func(c *clientConfig) error {
		switch {
		case spec.Name == "" || len(spec.Name) > maxName:
			return invalidOption("the shared reply topic's name is empty or over 255 bytes")
		case instanceTopic.MatchString(spec.Name):
			return invalidOption("the shared reply topic's name looks like that of one instance, and would be cleaned away: choose another")
		case c.replies.own:
			return errTwoAddresses
		}
		c.replies = repliesConfig{shared: true, spec: spec}
		return nil
	})
}

var errTwoAddresses = invalidOption("a client has one reply address: leave ReplyTopic or SharedReplies out")

// instanceTopic matches the names of the reply topics that clients make.
var instanceTopic = regexp.MustCompile(`^trunkline\.reply\.([A-Za-z0-9._-]{1,100})\.([a-z2-7]{26})$`)

func (c *clientConfig) checkReplies(caps bus.Capabilities) error {
	if c.replies.shared && !(caps.Partitions && caps.Topics && caps.Replay) {
		return newError(codes.Unimplemented, "transport "+caps.Name+" has no topics with partitions to share for replies: leave SharedReplies out", nil)
	}
	return nil
}

// replyReaders are the readers that clients of a bus share. They are attached to it.
type replyReaders struct {
	mu   sync.Mutex
	open map[readerKey]*replyReader
}

// readerKey tells shared readers apart: by topic, "" for the bus's own.
type readerKey struct {
	own   bool // not kept
	topic string
}

type readersKey struct{}

func readersOf(b *bus.Bus) *replyReaders {
	return seam.Of(b).Attach(readersKey{}, func() any { return &replyReaders{open: map[readerKey]*replyReader{}} }).(*replyReaders)
}

// acquireReader returns the reader for c, which release gives back.
func acquireReader(c *Client) *replyReader {
	key := readerKey{topic: ""}
	_, usual := c.cfg.wire.(HeaderWire)
	switch {
	case c.cfg.replies.own || !usual:
		r := newReplyReader(c, readerKey{own: true})
		r.add(c)
		return r
	case c.cfg.replies.shared:
		key.topic = c.cfg.replies.spec.Name
	}
	all := readersOf(c.bus)
	all.mu.Lock()
	defer all.mu.Unlock()
	r, ok := all.open[key]
	if !ok {
		r = newReplyReader(c, key)
		all.open[key] = r
	}
	r.add(c)
	return r
}

// release takes c's leave; the last one's closes the reader.
func (r *replyReader) release(ctx context.Context, c *Client) error {
	if !r.forget(c) {
		return nil
	}
	return r.close(ctx)
}

func (r *replyReader) forget(c *Client) (last bool) {
	if r.key.own {
		return r.remove(c)
	}
	all := readersOf(r.bus)
	all.mu.Lock()
	defer all.mu.Unlock()
	if last = r.remove(c); last {
		delete(all.open, r.key)
	}
	return last
}

// locate sees to it that the topic is there, and in a shared one picks a partition
// and finds where its end is: at the offset of a record that is published there. No
// reply to a later request can stand before it.
func (r *replyReader) locate(ctx context.Context) error {
	if err := r.bus.EnsureTopic(ctx, r.spec); err != nil || !r.shared {
		return err
	}
	info, err := r.bus.DescribeTopic(ctx, r.topic)
	if err != nil {
		return err
	}
	if p := r.partition.Load(); p < 0 || p >= info.Partitions {
		r.next, r.skipped = -1, 0
		r.partition.Store(rand.Int32N(info.Partitions))
	}
	if r.next >= 0 {
		return nil
	}
	r.next, err = r.mark(ctx)
	return err
}

// mark publishes a record that means nothing and returns its offset.
func (r *replyReader) mark(ctx context.Context) (int64, error) {
	m := newRecord()
	if err := r.wire.Encode(&Frame{Kind: KindReply, ID: "0", Caller: r.id, Topic: r.topic, ReplyPartition: AnyPartition, Attempt: 1}, m); err != nil {
		return -1, err
	}
	m.Topic, m.Partition = r.topic, r.partition.Load()
	outcome := make(chan bus.Outcome, 1)
	r.bus.PublishRecord(ctx, m, func(o bus.Outcome) { outcome <- o })
	select {
	case o := <-outcome:
		if o.Err == nil && o.Offset < 0 {
			o.Err = &bus.Error{Code: bus.CodeUnavailable, Op: "publish", Topic: r.topic, Reason: "the broker did not tell where the record is"}
		}
		return o.Offset, o.Err
	case <-ctx.Done():
		return -1, contextError(ctx, "the end of the shared reply topic is not known yet")
	}
}
