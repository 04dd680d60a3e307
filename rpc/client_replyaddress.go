package rpc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"

	"google.golang.org/grpc/codes"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/seam"
	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/replytopic"
)

// replyAddress is where the replies to a client go.
type replyAddress struct {
	own    bool // a topic that only this client reads; spec has no name
	shared bool // a partition of the topic of spec
	spec   bus.TopicSpec
}

// WithReplyTopic gives the client a reply topic and a reader of its own, and sets the
// replication and configuration of the topic, on transports that create topics. Name and
// Partitions of spec must be zero: the client sets them. By default the clients of a bus
// share one topic, which has the defaults of the transport.
func WithReplyTopic(spec bus.TopicSpec) ClientOption {
	return clientOption(func(c *clientConfig) error {
		if spec.Name != "" || spec.Partitions != 0 {
			return invalidOption("WithReplyTopic: the client sets name and partitions, leave them zero")
		}
		if c.replies.shared {
			return errTwoAddresses
		}
		c.replies = replyAddress{own: true, spec: spec}
		return nil
	})
}

// WithSharedReplies makes the client receive its replies on a topic that many instances
// share. Then an instance that crashes leaves no topic behind. Each bus selects one
// partition of the topic at random, and reads only that partition. Servers send replies to
// exactly that partition. If several instances have selected the same partition, each of
// them reads all replies there, and drops the replies to the others.
//
// The client creates the topic from spec if it does not exist, and never deletes it: give
// it a short retention. The topic needs a name. Use one that begins with
// "trunkline.reply.", because servers allow those by default (see
// [WithAllowedReplyTopics]). The clients of one bus that name the same topic share one
// reader. All clients of one topic need the same wire.
//
// The transport must have partitions, replay, and topics that can be created (Kafka,
// memory); on others NewClient returns codes.Unimplemented.
func WithSharedReplies(spec bus.TopicSpec) ClientOption {
	return clientOption(func(c *clientConfig) error {
		_, _, taken := replytopic.Parse(spec.Name)
		switch {
		case spec.Name == "" || len(spec.Name) > frame.MaxName:
			return invalidOption(fmt.Sprintf("WithSharedReplies: the topic's name must have 1 to %d bytes, got %d", frame.MaxName, len(spec.Name)))
		case taken:
			return invalidOption("WithSharedReplies: topic " + spec.Name + " has the name of one instance's reply topic, which a cleanup would delete: choose another name")
		case c.replies.own:
			return errTwoAddresses
		}
		c.replies = replyAddress{shared: true, spec: spec}
		return nil
	})
}

var errTwoAddresses = invalidOption("a client has one reply topic: use WithReplyTopic or WithSharedReplies, not both")

func (c *clientConfig) checkReplies(caps bus.Capabilities) error {
	if c.replies.shared && !(caps.Partitions && caps.Topics && caps.Replay) {
		return newError(codes.Unimplemented, "WithSharedReplies: transport "+caps.Name+" does not have partitions, topics and replay", nil)
	}
	return nil
}

// replyReaders holds the readers that the clients of a bus share. It is attached to the bus.
type replyReaders struct {
	mu   sync.Mutex
	open map[readerKey]*replyReader
}

// readerKey identifies a reader among those of a bus.
type readerKey struct {
	own   bool   // used by one client only; such a reader is not in replyReaders
	topic string // the shared topic; "" for the default reply topic of the bus
}

type readersKey struct{}

func readersOf(b *bus.Bus) *replyReaders {
	return seam.Of(b).Attach(readersKey{}, func() any { return &replyReaders{open: map[readerKey]*replyReader{}} }).(*replyReaders)
}

// acquireReader returns the reader for c. Call its release method when c closes.
func acquireReader(c *Client) *replyReader {
	key := readerKey{topic: ""}
	_, defaultWire := c.cfg.wire.(frame.HeaderWire)
	switch {
	case c.cfg.replies.own || !defaultWire:
		r := newReplyReader(c, readerKey{own: true})
		r.add(c)
		return r
	case c.cfg.replies.shared:
		key.topic = c.cfg.replies.spec.Name
	}
	readers := readersOf(c.bus)
	readers.mu.Lock()
	defer readers.mu.Unlock()
	r, ok := readers.open[key]
	if !ok {
		r = newReplyReader(c, key)
		readers.open[key] = r
	}
	r.add(c)
	return r
}

// release removes c, and closes the reader if c was its last client.
func (r *replyReader) release(ctx context.Context, c *Client) error {
	if !r.removeLast(c) {
		return nil
	}
	return r.close(ctx)
}

// removeLast removes c. It returns true if c was the last client; then no further client
// can acquire the reader.
func (r *replyReader) removeLast(c *Client) (last bool) {
	if r.key.own {
		return r.remove(c)
	}
	readers := readersOf(r.bus)
	readers.mu.Lock()
	defer readers.mu.Unlock()
	if last = r.remove(c); last {
		delete(readers.open, r.key)
	}
	return last
}

// prepareTopic creates the topic if it does not exist. In a shared topic it also selects a
// partition, and publishes a record there, the mark. The reader starts at the mark. Replies
// to later requests come after it.
func (r *replyReader) prepareTopic(ctx context.Context) error {
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
	r.next, err = r.publishMark(ctx)
	return err
}

// publishMark publishes the mark and returns its offset.
func (r *replyReader) publishMark(ctx context.Context) (int64, error) {
	m := newRecord()
	err := r.wire.Encode(&frame.Frame{Kind: frame.KindReply, ID: "0", Caller: r.id, Topic: r.topic, ReplyPartition: bus.AnyPartition, Attempt: 1}, m)
	if err != nil {
		return -1, err
	}
	m.Topic, m.Partition = r.topic, r.partition.Load()
	outcome := make(chan bus.Outcome, 1)
	r.bus.PublishRecord(ctx, m, func(o bus.Outcome) { outcome <- o })
	select {
	case o := <-outcome:
		if o.Err == nil && o.Offset < 0 {
			o.Err = &bus.Error{Code: bus.CodeUnavailable, Op: "publish", Topic: r.topic, Reason: "the broker did not return the offset of the record"}
		}
		return o.Offset, o.Err
	case <-ctx.Done():
		return -1, contextError(ctx, "the end of the shared reply topic is not known yet")
	}
}
