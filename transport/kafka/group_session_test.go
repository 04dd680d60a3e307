package kafka_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// leave releases the partitions, like package bus, and closes the session.
func leave(t *testing.T, s driver.Session, parts ...driver.Partition) {
	t.Helper()
	for _, p := range parts {
		p.Release()
	}
	require.NoError(t, s.Close(testContext(t)))
}

func TestGroupResumesAtItsCommittedOffset(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	group := kafkatb.Name(t)
	requirePublished(t, publish(t, r, r.topic, anyPartition(numbered("", 10)...)...))

	s := subscribe(t, r, driver.Subscription{Topic: r.topic, Group: group})
	p := awaitAssigned(t, s)[0]
	require.Equal(t, numbered("", 10), payloads(fetch(t, p, 10)))
	require.NoError(t, p.Commit(testContext(t), 4, "a note"))
	require.NoError(t, p.Commit(testContext(t), 3, "")) // a lower offset has no effect
	leave(t, s, p)
	require.Equal(t, driver.CodeRevoked, driver.CodeOf(p.Commit(testContext(t), 9, "")))
	_, err := p.Fetch(testContext(t))
	require.Equal(t, driver.CodeClosed, driver.CodeOf(err))

	s = subscribe(t, r, driver.Subscription{Topic: r.topic, Group: group})
	p = awaitAssigned(t, s)[0]
	require.Equal(t, numbered("", 10)[4:], payloads(fetch(t, p, 6)))
	leave(t, s, p)
}

func TestGroupWithoutCommitBeginsAtItsStart(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	requirePublished(t, publish(t, r, r.topic, anyPartition("old", "older")...))

	// The session resolves and commits the start "newest" before it reports the assignment.
	// The next member continues there, and not at the record that is the newest when it
	// joins.
	group := kafkatb.Name(t)
	newest := driver.Subscription{Topic: r.topic, Group: group, Start: driver.Start{Kind: driver.StartNewest}}
	s := subscribe(t, r, newest)
	p := awaitAssigned(t, s)
	requirePublished(t, publish(t, r, r.topic, anyPartition("new")...))
	leave(t, s, p...)
	s = subscribe(t, r, newest)
	p = awaitAssigned(t, s)
	require.Equal(t, "new", string(fetch(t, p[0], 1)[0].Payload))
	leave(t, s, p...)

	s = subscribe(t, r, driver.Subscription{
		Topic: r.topic, Group: kafkatb.Name(t), Start: driver.Start{Kind: driver.StartAtOffset, Offset: 1},
	})
	p = awaitAssigned(t, s)
	require.Equal(t, "older", string(fetch(t, p[0], 1)[0].Payload))
	leave(t, s, p...)

	s = subscribe(t, r, driver.Subscription{
		Topic: r.topic, Group: kafkatb.Name(t), Start: driver.Start{Kind: driver.StartAtOffset, Offset: 100},
	})
	_, err := s.Next(testContext(t))
	require.Equal(t, driver.CodeOutOfRange, driver.CodeOf(err), "%v", err)
}

func TestFetchReturnsAtMostMaxFetchRecords(t *testing.T) {
	t.Parallel()
	r := setup(t, 1)
	requirePublished(t, publish(t, r, r.topic, anyPartition(numbered("", 50)...)...))
	s := subscribe(t, r, driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t), MaxFetch: 7})
	p := awaitAssigned(t, s)
	var got []string
	for len(got) < 50 {
		recs, err := p[0].Fetch(testContext(t))
		require.NoError(t, err)
		require.LessOrEqual(t, len(recs), 7)
		got = append(got, payloads(recs)...)
	}
	require.Equal(t, numbered("", 50), got)
	leave(t, s, p...)
}

// member is a member of a group that commits what it reads, like package bus.
type member struct {
	session driver.Session
	quit    context.CancelFunc
	wg      sync.WaitGroup
	mu      sync.Mutex
	held    int // partitions
}

// runMember runs a member until stop. It calls got for each record before the commit. got
// must be safe for concurrent use.
func runMember(ctx context.Context, s driver.Session, got func(driver.Record)) *member {
	w := &member{session: s}
	var fetching context.Context
	fetching, w.quit = context.WithCancel(ctx)
	w.wg.Go(func() {
		for {
			ev, err := s.Next(fetching)
			if err != nil {
				return
			}
			for _, p := range ev.Added {
				w.mu.Lock()
				w.held++
				w.mu.Unlock()
				w.wg.Go(func() {
					defer p.Release()
					defer func() {
						w.mu.Lock()
						w.held--
						w.mu.Unlock()
					}()
					for {
						recs, err := p.Fetch(fetching)
						if err != nil {
							return
						}
						for _, rec := range recs {
							got(rec)
						}
						// succeeds even if the claim has been revoked meanwhile
						_ = p.Commit(ctx, recs[len(recs)-1].Offset+1, "")
					}
				})
			}
		}
	})
	return w
}

func (w *member) partitions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held
}

// stop waits for the member's last commits, and then closes the session.
func (w *member) stop(t *testing.T) {
	t.Helper()
	w.quit()
	w.wg.Wait()
	require.NoError(t, w.session.Close(testContext(t)))
}

func TestRebalanceNeitherLosesNorRepeatsRecords(t *testing.T) {
	t.Parallel()
	const partitions, total = 4, 400
	r := setup(t, partitions)
	other := open(t, r.broker)
	group := kafkatb.Name(t)
	var mu sync.Mutex
	seen := make(map[string]int)
	all := make(chan struct{})
	got := func(rec driver.Record) {
		mu.Lock()
		defer mu.Unlock()
		seen[string(rec.Payload)]++
		if len(seen) == total && seen[string(rec.Payload)] == 1 {
			close(all)
		}
	}
	ctx := testContext(t)
	sub := driver.Subscription{Topic: r.topic, Group: group}
	first := runMember(t.Context(), subscribe(t, r, sub), got)
	var publishing sync.WaitGroup
	publishing.Go(func() {
		for i := range total {
			outs, s := batch(ctx, r.topic, item{payload: fmt.Sprint(i), partition: int32(i % partitions)})
			r.Publish(outs)
			s.wait()
		}
	})
	second := runMember(t.Context(), subscribe(t, other, sub), got)
	for _, w := range []*member{first, second} {
		require.Eventually(t, func() bool { return w.partitions() == partitions/2 }, testTimeout, 10*time.Millisecond)
	}
	second.stop(t)
	require.Eventually(t, func() bool { return first.partitions() == partitions }, testTimeout, 10*time.Millisecond)
	publishing.Wait()
	select {
	case <-all:
	case <-ctx.Done():
		mu.Lock()
		n := len(seen)
		mu.Unlock()
		t.Fatalf("received %d of %d records", n, total)
	}
	first.stop(t)
	mu.Lock()
	defer mu.Unlock()
	twice := 0
	for _, n := range seen {
		twice += n - 1
	}
	require.Zero(t, twice, "every claim was committed before its release, so no record is delivered twice")
}

func TestRevokedClaimCommitsUntilReleased(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithBalance(kafka.Range)) // another strategy would not move the claim
	group := kafkatb.Name(t)
	requirePublished(t, publish(t, r, r.topic, anyPartition("a", "b")...))
	sub := driver.Subscription{Topic: r.topic, Group: group}
	one := subscribe(t, r, sub)
	p := awaitAssigned(t, one)[0]
	fetch(t, p, 2)

	two := subscribe(t, open(t, r.broker, kafka.WithBalance(kafka.Range)), sub)
	receive(t, p.Context().Done())
	require.Equal(t, driver.CodeRevoked, driver.CodeOf(context.Cause(p.Context())))
	_, err := p.Fetch(testContext(t))
	require.Equal(t, driver.CodeRevoked, driver.CodeOf(err))
	require.NoError(t, p.Commit(testContext(t), 1, "")) // the handler of one message has ended
	p.Release()

	// One of the sessions gets the partition, and continues at the committed offset.
	found := make(chan driver.Partition, 2)
	ctx, cancel := context.WithCancel(testContext(t))
	var wg sync.WaitGroup
	for _, s := range []driver.Session{one, two} {
		wg.Go(func() {
			for {
				ev, err := s.Next(ctx)
				if err != nil {
					return
				}
				for _, c := range ev.Added {
					found <- c
				}
			}
		})
	}
	c := receive(t, found)
	require.Equal(t, []string{"b"}, payloads(fetch(t, c, 1)))
	require.Equal(t, driver.CodeRevoked, driver.CodeOf(p.Commit(testContext(t), 2, "")))
	cancel()
	wg.Wait()
	c.Release()
}

func TestPartitionsOfADeadMemberContinueAtTheCommittedOffset(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithTimeouts(kafka.Timeouts{Session: 6 * time.Second}))
	requirePublished(t, publish(t, r, r.topic, anyPartition("a", "b", "c")...))
	sub := driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t)}
	s := subscribe(t, r, sub)
	p := awaitAssigned(t, s)[0]
	fetch(t, p, 3)
	require.NoError(t, p.Commit(testContext(t), 1, ""))
	r.net.Stall() // the member cannot leave the group

	s = subscribe(t, open(t, r.broker), sub)
	next := awaitAssigned(t, s)
	for len(next) == 0 {
		next = awaitAssigned(t, s)
	}
	require.Equal(t, []string{"b", "c"}, payloads(fetch(t, next[0], 2)))
	leave(t, s, next...)
	r.net.Restore()
	receive(t, p.Context().Done())
	p.Release()
}

func TestGroupContinuesAfterAnOutage(t *testing.T) {
	t.Parallel()
	r := setup(t, 2)
	seen := observe(r)
	var mu sync.Mutex
	var got []string
	news := make(chan struct{}, 1000)
	w := runMember(t.Context(), subscribe(t, r, driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t)}), func(rec driver.Record) {
		mu.Lock()
		got = append(got, string(rec.Payload))
		mu.Unlock()
		news <- struct{}{}
	})
	other := open(t, r.broker)
	requirePublished(t, publish(t, other, r.topic, item{payload: "a"}, item{payload: "b", partition: 1}))
	receive(t, news)
	receive(t, news)
	r.net.Cut()
	seen.await(t, driver.Disconnected)
	requirePublished(t, publish(t, other, r.topic, item{payload: "c"}, item{payload: "d", partition: 1}))
	r.net.Restore()
	seen.await(t, driver.Connected)
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(got, "c") && slices.Contains(got, "d")
	}, testTimeout, 10*time.Millisecond)
	w.stop(t)
}

// A partition that is added later has no records that the subscription could skip, whatever
// its start is.
func TestGroupReadsNewPartitionsFromTheirBeginning(t *testing.T) {
	t.Parallel()
	r := setup(t, 1, kafka.WithTimeouts(kafka.Timeouts{Refresh: 3 * time.Second}))
	s := subscribe(t, r, driver.Subscription{Topic: r.topic, Group: kafkatb.Name(t), Start: driver.Start{Kind: driver.StartNewest}})
	held := awaitAssigned(t, s)
	require.Len(t, held, 1)
	require.NoError(t, r.broker.AddPartitions(testContext(t), r.topic, 2))
	other := open(t, r.broker) // its metadata is new, so it publishes before the group notices the partition
	requirePublished(t, publish(t, other, r.topic, item{partition: 1, payload: "early"}))
	for {
		for _, p := range awaitAssigned(t, s) {
			held = append(held, p)
			if p.ID() == 1 {
				require.Equal(t, "early", string(fetch(t, p, 1)[0].Payload))
				leave(t, s, held...)
				return
			}
		}
		for _, p := range held { // with a strategy that is not cooperative, all partitions move
			if p.Context().Err() != nil {
				p.Release()
			}
		}
	}
}
