package chaos

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/bus/driver/partition"
)

// Load says what flows through the cluster while it is broken. A number that is 0 has
// its default.
type Load struct {
	// Topic exists, is empty, has this many Partitions, and is used by nobody else.
	Topic      string
	Partitions int32
	// Addrs are the addresses of all brokers.
	Addrs []string
	// Open makes a bus with opts besides the options of its own, and what takes its
	// network away for good, which may be nil when no consumer is killed. name tells
	// the buses of a run apart.
	Open func(name string, opts ...bus.Option) (b *bus.Bus, cut func(), err error)
	// Publishers is how many goroutines publish: 8. The first publishes to partition 0, and
	// so on.
	Publishers int
	// Keys is how many keys each publisher has: 8.
	Keys int
	// Batch is how many messages a publisher hands over at once: 8.
	Batch int
	// Pace is how long a publisher rests after each batch: 50 ms.
	Pace time.Duration
	// Groups are the names of the consumer groups: the topic's with -a and -b. They
	// have no positions yet.
	Groups []string
	// Members is how many members each group has: 2.
	Members int
}

func (l *Load) complete() error {
	switch {
	case l.Topic == "":
		return errors.New("chaos: the load has no topic")
	case l.Partitions < 1:
		return errors.New("chaos: the load's topic has no partitions")
	case len(l.Addrs) == 0:
		return errors.New("chaos: the load has no brokers' addresses")
	case l.Open == nil:
		return errors.New("chaos: the load can't open a bus")
	}
	l.Publishers, l.Keys, l.Batch = cmp.Or(l.Publishers, 8), cmp.Or(l.Keys, 8), cmp.Or(l.Batch, 8)
	l.Pace, l.Members = cmp.Or(l.Pace, 50*time.Millisecond), cmp.Or(l.Members, 2)
	if len(l.Groups) == 0 {
		l.Groups = []string{l.Topic + "-a", l.Topic + "-b"}
	}
	return nil
}

// keys returns the keys of the n-th publisher, all of one partition.
func (l *Load) keys(n int) []string {
	var keys []string
	for i := 0; len(keys) < l.Keys; i++ {
		key := fmt.Sprintf("p%d-%d", n, i)
		if partition.ByKey([]byte(key), l.Partitions) == int32(n)%l.Partitions {
			keys = append(keys, key)
		}
	}
	return keys
}

// payload is what a message carries: its name, and some weight.
func payload(m Message) []byte {
	return fmt.Appendf(nil, "%s %d %s", m.Key, m.Number, weight)
}

var weight = strings.Repeat("x", 200)

func parse(payload []byte) (Message, error) {
	fields := strings.Fields(string(payload))
	if len(fields) == 3 && fields[2] == weight {
		if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			return Message{fields[0], n}, nil
		}
	}
	return Message{}, fmt.Errorf("chaos: a record of %d bytes is not of this load", len(payload))
}
