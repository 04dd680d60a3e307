package soak

import (
	"cmp"
	"errors"
	"time"

	"github.com/trunkline/trunkline/bus"
)

// Plan says what a run is. A number that is 0 has its default.
type Plan struct {
	// Topic exists, is empty, has this many Partitions, and is used by nobody else.
	Topic      string
	Partitions int32
	// DeadLetters is a topic that exists and is empty.
	DeadLetters string
	// Group has no positions yet.
	Group string
	// Messages is how many are published.
	Messages int
	// Keys is how many keys they have: 1000. Each gets four messages in a row, and then it
	// is the next one's turn, so that those of a key are in flight at once.
	Keys int
	// Events is how often something happens to the members: 100.
	Events int
	// Members is how many there are at first: 3; there are never more than twice as many.
	Members int
	// Workers is how many handlers a member runs at once: 32.
	Workers int
	// Ahead is how many messages are published and not handled yet, at the most: 10,000.
	Ahead int
	// Seed decides what happens and what fails.
	Seed uint64
	// Pace is how long after an event the next one comes at the latest: 300 ms.
	Pace time.Duration
	// Patience bounds each wait: for a member to stop, for messages to flow again. 30 s.
	Patience time.Duration
	// Open makes a bus with opts besides the options of its own, and what kills it: the
	// network is gone for good, or the process. name tells the buses of a run apart.
	Open func(name string, opts ...bus.Option) (b *bus.Bus, kill func(), err error)
}

func (p *Plan) complete() error {
	switch {
	case p.Topic == "" || p.DeadLetters == "" || p.Group == "":
		return errors.New("soak: the plan needs a topic, a topic for dead letters, and a group")
	case p.Partitions < 1 || p.Messages < 1:
		return errors.New("soak: the plan has no partitions or no messages")
	case p.Open == nil:
		return errors.New("soak: the plan can't open a bus")
	}
	p.Keys, p.Events, p.Members = cmp.Or(p.Keys, 1000), cmp.Or(p.Events, 100), cmp.Or(p.Members, 3)
	p.Workers, p.Ahead = cmp.Or(p.Workers, 32), cmp.Or(p.Ahead, 10_000)
	p.Pace, p.Patience = cmp.Or(p.Pace, 300*time.Millisecond), cmp.Or(p.Patience, 30*time.Second)
	return nil
}

// inRow is how many messages a key gets in a row.
const inRow = 4

// keyOf returns the number of a message's key.
func keyOf(message, keys int) int { return message / inRow % keys }

// inKey returns the message before this one in its key, less than 0 for none.
func inKey(message, keys int) int {
	if message%inRow > 0 {
		return message - 1
	}
	return message - 1 - inRow*(keys-1)
}

// fate says what becomes of the n-th handling of a message: whether it fails, and how long
// it takes, in thousandths of its most. It depends on nothing but these numbers.
func (p *Plan) fate(message, n int) (fails bool, share uint64) {
	if scramble(p.Seed^uint64(message))%500 == 0 {
		return true, 0
	}
	h := scramble(scramble(p.Seed^uint64(message)) ^ uint64(n))
	if h%100 < 5 {
		return true, 0
	}
	if h>>32%20 == 0 {
		return false, h >> 40 % 1000
	}
	return false, 0
}

// scramble is the finalizer of splitmix64.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
