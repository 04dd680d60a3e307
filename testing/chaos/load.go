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

// Load configures the publishers and consumers of a [Run]. A number that is 0 has its default.
type Load struct {
	// Topic must exist, be empty, and have no other user. Partitions is its number of partitions.
	Topic      string
	Partitions int32
	// Addrs are the addresses of all brokers.
	Addrs []string
	// Open opens a bus with opts in addition to its own options. It also returns disconnect, which
	// permanently closes the connections of the bus; disconnect may be nil if the run does not use
	// KillMember. name is unique within the run.
	Open func(name string, opts ...bus.Option) (b *bus.Bus, disconnect func(), err error)
	// Publishers is the number of publishing goroutines. The first publishes to partition 0, the
	// second to partition 1, and so on. The default is 8.
	Publishers int
	// Keys is the number of keys of each publisher. The default is 8.
	Keys int
	// Batch is the number of messages in each call of Publish. The default is 8.
	Batch int
	// Pause is how long a publisher waits after each batch. The default is 50 ms.
	Pause time.Duration
	// Groups are the names of the consumer groups. They must be new: the groups have no committed
	// offsets. The defaults are the topic's name with the suffixes -a and -b.
	Groups []string
	// Members is the number of members of each group. The default is 2.
	Members int
}

// complete checks the load and sets the defaults.
func (l *Load) complete() error {
	switch {
	case l.Topic == "":
		return errors.New("chaos: Load.Topic must not be empty")
	case l.Partitions < 1:
		return fmt.Errorf("chaos: Load.Partitions must be at least 1, got %d", l.Partitions)
	case len(l.Addrs) == 0:
		return errors.New("chaos: Load.Addrs must not be empty")
	case l.Open == nil:
		return errors.New("chaos: Load.Open must not be nil")
	}
	l.Publishers, l.Keys, l.Batch = cmp.Or(l.Publishers, 8), cmp.Or(l.Keys, 8), cmp.Or(l.Batch, 8)
	l.Pause, l.Members = cmp.Or(l.Pause, 50*time.Millisecond), cmp.Or(l.Members, 2)
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

// payload returns the payload of a message: its key, its number, and padding.
func payload(m Message) []byte {
	return fmt.Appendf(nil, "%s %d %s", m.Key, m.Number, padding)
}

var padding = strings.Repeat("x", 200)

func parse(payload []byte) (Message, error) {
	fields := strings.Fields(string(payload))
	if len(fields) == 3 && fields[2] == padding {
		if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
			return Message{fields[0], n}, nil
		}
	}
	return Message{}, fmt.Errorf("chaos: parse a payload of %d bytes: it was not published by this run", len(payload))
}
