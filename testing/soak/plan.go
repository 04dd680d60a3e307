package soak

import (
	"cmp"
	"errors"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Plan configures a run. A number that is 0 has its default.
type Plan struct {
	// Topic must exist, be empty, and have no other user. Partitions is its number of partitions.
	Topic      string
	Partitions int32
	// DeadLetterTopic must exist and be empty.
	DeadLetterTopic string
	// Group must be new: it has no committed offsets.
	Group string
	// Messages is the number of messages to publish.
	Messages int
	// Keys is the number of keys. Each key gets four messages in a row before the next key, so that
	// several messages of a key are in flight together. The default is 1000.
	Keys int
	// Events is the number of events. The default is 100.
	Events int
	// Members is the number of members at the beginning; later there are at most twice as many. The
	// default is 3.
	Members int
	// Workers is the number of concurrent handlers of a member. The default is 32.
	Workers int
	// MaxUnhandled is the largest number of messages that are published but not done. The default is
	// 10,000.
	MaxUnhandled int
	// Seed determines the events and the handler errors.
	Seed uint64
	// MaxInterval is the longest time between two events. The default is 300 ms.
	MaxInterval time.Duration
	// Timeout bounds each wait, for example for a member to stop or for messages to flow again. The
	// default is 30 s.
	Timeout time.Duration
	// Open opens a bus with opts in addition to its own options. It also returns kill, which permanently
	// closes the connections of the bus, or ends it like the death of its process. name is unique within
	// the run.
	Open func(name string, opts ...bus.Option) (b *bus.Bus, kill func(), err error)
}

// complete checks the plan and sets the defaults.
func (p *Plan) complete() error {
	switch {
	case p.Topic == "" || p.DeadLetterTopic == "" || p.Group == "":
		return errors.New("soak: Plan.Topic, Plan.DeadLetterTopic and Plan.Group must not be empty")
	case p.Partitions < 1 || p.Messages < 1:
		return errors.New("soak: Plan.Partitions and Plan.Messages must be at least 1")
	case p.Open == nil:
		return errors.New("soak: Plan.Open must not be nil")
	}
	p.Keys, p.Events, p.Members = cmp.Or(p.Keys, 1000), cmp.Or(p.Events, 100), cmp.Or(p.Members, 3)
	p.Workers, p.MaxUnhandled = cmp.Or(p.Workers, 32), cmp.Or(p.MaxUnhandled, 10_000)
	p.MaxInterval, p.Timeout = cmp.Or(p.MaxInterval, 300*time.Millisecond), cmp.Or(p.Timeout, 30*time.Second)
	return nil
}

// messagesInRow is the number of messages that a key gets before the next key.
const messagesInRow = 4

// keyOf returns the number of a message's key.
func keyOf(message, keys int) int { return message / messagesInRow % keys }

// previousOfKey returns the previous message of the key, a negative number if there is none.
func previousOfKey(message, keys int) int {
	if message%messagesInRow > 0 {
		return message - 1
	}
	return message - 1 - messagesInRow*(keys-1)
}

// handling returns whether the n-th handling of a message fails, and how long it takes. It depends only on
// the seed, the message and n.
func (p *Plan) handling(message, n int) (fails bool, work time.Duration) {
	if scramble(p.Seed^uint64(message))%500 == 0 {
		return true, 0
	}
	h := scramble(scramble(p.Seed^uint64(message)) ^ uint64(n))
	if h%100 < 5 {
		return true, 0
	}
	if h>>32%20 == 0 {
		return false, maxWork * time.Duration(h>>40%1000) / 1000
	}
	return false, 0
}

// scramble is the hash function of splitmix64.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
