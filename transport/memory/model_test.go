package memory_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/memory"
)

// model is a simple log with one group "g" and some sessions without a group. Random
// programs run on the model and on the real log. After each step every client reads its
// events and releases its revoked claims, so that the two can be compared.
type model struct {
	*rapid.T
	max        int
	root       *memory.Transport
	partitions []modelPartition
	clients    []*client
	published  int
}

type modelPartition struct {
	base      int64
	payloads  []string // of all records that were ever published, by offset
	committed int64    // -1 for none
}

// client is a session with its own transport.
type client struct {
	tr           *memory.Transport
	session      driver.Session
	grouped      bool
	disconnected bool
	claims       map[int32]*clientClaim
	expected     map[int32]int64 // without a group: the offset at which the next claim starts
}

type clientClaim struct {
	driver.Partition
	next int64
}

func TestRandomProgramsMatchModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{T: rt, max: rapid.IntRange(1, 5).Draw(rt, "max records")}
		n := rapid.Int32Range(1, 3).Draw(rt, "partitions")
		var err error
		m.root, err = memory.New(memory.WithMaxRecords(m.max))
		require.NoError(rt, err)
		require.NoError(rt, m.root.CreateTopic(context.Background(), driver.TopicSpec{Name: "t", Partitions: n}))
		m.grow(n)
		defer m.closeAll()
		rt.Repeat(map[string]func(*rapid.T){
			"":              func(*rapid.T) { m.settle() },
			"publish":       m.publish,
			"join":          func(rt *rapid.T) { m.join(rt, true) },
			"read":          func(rt *rapid.T) { m.join(rt, false) },
			"fetch":         m.fetch,
			"commit":        m.commit,
			"leave":         m.leave,
			"crash":         m.crash,
			"disconnect":    m.disconnect,
			"connect":       m.connect,
			"rebalance":     m.rebalance,
			"addPartitions": m.addPartition,
		})
	})
}

// callContext returns a short timeout if the model says that the call blocks, and a long one
// if it does not, so that a slow machine does not make the two disagree.
func callContext(blocks bool) (context.Context, context.CancelFunc) {
	if blocks {
		return context.WithTimeout(context.Background(), time.Millisecond)
	}
	return context.WithTimeout(context.Background(), wait)
}

func (m *model) grow(n int32) {
	for range n {
		m.partitions = append(m.partitions, modelPartition{committed: -1})
	}
}

func (m *model) closeAll() {
	for _, c := range append(m.clients, &client{tr: m.root}) {
		require.NoError(m, c.tr.Close(context.Background()))
	}
}

// members returns the connected members of the group.
func (m *model) members() []*client {
	var all []*client
	for _, c := range m.clients {
		if c.grouped && !c.disconnected {
			all = append(all, c)
		}
	}
	return all
}

// start is the offset at which the group starts in the partition.
func (p *modelPartition) start() int64 { return max(p.committed, p.base) }

// mayTrim reports whether every connected client has passed the oldest record.
func (m *model) mayTrim(id int32) bool {
	p := m.partitions[id]
	for _, c := range m.clients {
		switch {
		case c.disconnected:
		case c.grouped && p.start() <= p.base, !c.grouped && c.claims[id].next <= p.base:
			return false
		}
	}
	return true
}

func (m *model) publish(rt *rapid.T) {
	id := rapid.Int32Range(0, int32(len(m.partitions))-1).Draw(rt, "partition")
	for range rapid.IntRange(1, 6).Draw(rt, "messages") {
		m.publishOne(rt, id)
	}
}

func (m *model) publishOne(rt *rapid.T, id int32) {
	p := &m.partitions[id]
	m.published++
	payload := fmt.Sprint(m.published)
	full := len(p.payloads)-int(p.base) == m.max
	blocks := full && !m.mayTrim(id)
	ctx, cancel := callContext(blocks)
	defer cancel()
	r := publish(ctx, m.root, payload, to(id))
	if blocks {
		require.Equal(rt, driver.CodeDeadlineExceeded, driver.CodeOf(r.Err))
		return
	}
	require.Equal(rt, driver.Outcome{Partition: id, Offset: int64(len(p.payloads))}, r)
	if full {
		p.base++
	}
	p.payloads = append(p.payloads, payload)
}

func (m *model) join(rt *rapid.T, grouped bool) {
	if len(m.clients) == 5 {
		rt.Skip("the limit is reached")
	}
	tr, err := memory.New(memory.WithLog(m.root.Log()))
	require.NoError(rt, err)
	c := &client{tr: tr, grouped: grouped, claims: map[int32]*clientClaim{}, expected: map[int32]int64{}}
	sub := driver.Subscription{Topic: "t", MaxFetch: rapid.IntRange(1, 3).Draw(rt, "max fetch")}
	if grouped {
		sub.Group = "g"
	} else if rapid.Bool().Draw(rt, "newest") {
		sub.Start.Kind = driver.StartNewest
	}
	for id, p := range m.partitions {
		c.expected[int32(id)] = p.base
		if sub.Start.Kind == driver.StartNewest {
			c.expected[int32(id)] = int64(len(p.payloads))
		}
	}
	c.session, err = tr.Subscribe(context.Background(), sub)
	require.NoError(rt, err)
	m.clients = append(m.clients, c)
}

// pick returns a client, and one of its claims.
func (m *model) pick(rt *rapid.T) (*client, *clientClaim) {
	if len(m.clients) == 0 {
		rt.Skip("no clients")
	}
	c := rapid.SampledFrom(m.clients).Draw(rt, "client")
	id := rapid.Int32Range(0, int32(len(m.partitions))-1).Draw(rt, "partition")
	return c, c.claims[id]
}

func (m *model) fetch(rt *rapid.T) {
	c, claim := m.pick(rt)
	if claim == nil {
		rt.Skip("the client does not have the partition")
	}
	p := &m.partitions[claim.ID()]
	blocks := c.disconnected || max(claim.next, p.base) == int64(len(p.payloads))
	ctx, cancel := callContext(blocks)
	defer cancel()
	records, err := claim.Fetch(ctx)
	if blocks {
		require.Equal(rt, driver.CodeDeadlineExceeded, driver.CodeOf(err))
		return
	}
	require.NoError(rt, err)
	require.NotEmpty(rt, records)
	claim.next = max(claim.next, p.base)
	for _, r := range records {
		require.Equal(rt, claim.next, r.Offset)
		require.Equal(rt, claim.ID(), r.Partition)
		require.Equal(rt, p.payloads[r.Offset], string(r.Payload))
		claim.next++
	}
}

func (m *model) commit(rt *rapid.T) {
	c, claim := m.pick(rt)
	if claim == nil || !c.grouped {
		rt.Skip("no claim in the group")
	}
	next := rapid.Int64Range(0, claim.next).Draw(rt, "next")
	require.NoError(rt, claim.Commit(context.Background(), next, ""))
	p := &m.partitions[claim.ID()]
	if next >= p.start() {
		p.committed = next
	}
}

func (m *model) remove(c *client) {
	m.clients = slices.DeleteFunc(m.clients, func(o *client) bool { return o == c })
}

func (m *model) leave(rt *rapid.T) {
	c, _ := m.pick(rt)
	for _, claim := range c.claims {
		claim.Release()
	}
	require.NoError(rt, c.session.Close(context.Background()))
	require.NoError(rt, c.tr.Close(context.Background()))
	m.remove(c)
}

func (m *model) crash(rt *rapid.T) {
	c, _ := m.pick(rt)
	c.tr.Crash()
	for _, claim := range c.claims {
		require.Error(rt, claim.Context().Err())
		if c.grouped {
			require.Equal(rt, driver.CodeRevoked, driver.CodeOf(claim.Commit(context.Background(), claim.next, "")))
		}
	}
	m.remove(c)
}

func (m *model) disconnect(rt *rapid.T) {
	c, _ := m.pick(rt)
	c.tr.Disconnect(nil)
	c.disconnected = true
}

func (m *model) connect(rt *rapid.T) {
	c, _ := m.pick(rt)
	c.tr.Connect()
	c.disconnected = false
}

func (m *model) rebalance(rt *rapid.T) {
	if len(m.members()) == 0 {
		rt.Skip("no clients")
	}
	if rapid.Bool().Draw(rt, "expire") {
		require.NoError(rt, m.root.Log().ExpireMembers("g", "t"))
		return
	}
	require.NoError(rt, m.root.Log().Rebalance("g", "t"))
}

func (m *model) addPartition(rt *rapid.T) {
	if len(m.partitions) == 8 {
		rt.Skip("the limit is reached")
	}
	require.NoError(rt, m.root.Log().AddPartitions("t", 1))
	m.grow(1)
	if len(m.members()) > 0 {
		m.partitions[len(m.partitions)-1].committed = 0
	}
}

// settle reads all events and releases all revoked claims, and then checks the assignment.
func (m *model) settle() {
	none, cancel := context.WithCancel(context.Background())
	cancel()
	for busy := true; busy; {
		busy = false
		for _, c := range m.clients {
			for id, claim := range c.claims {
				if claim.Context().Err() == nil {
					continue
				}
				require.True(m, c.grouped, "a claim without a group survives: %v", context.Cause(claim.Context()))
				if p := &m.partitions[id]; claim.Commit(context.Background(), claim.next, "") == nil {
					p.committed = max(p.start(), claim.next)
				}
				claim.Release()
				delete(c.claims, id)
				busy = true
			}
			event, err := c.session.Next(none)
			if err != nil {
				require.ErrorIs(m, err, context.Canceled)
				continue
			}
			busy = true
			for _, p := range event.Added {
				next := c.expected[p.ID()] // 0 for a partition that was added later
				if c.grouped {
					next = m.partitions[p.ID()].start()
				}
				require.NotContains(m, c.claims, p.ID())
				c.claims[p.ID()] = &clientClaim{Partition: p, next: next}
			}
		}
	}
	m.checkAssignment()
}

func (m *model) checkAssignment() {
	var all []int32
	members, n := m.members(), len(m.partitions)
	for _, c := range m.clients {
		switch {
		case c.grouped && c.disconnected:
			require.Empty(m, c.claims)
		case c.grouped:
			require.GreaterOrEqual(m, len(c.claims), n/len(members))
			require.LessOrEqual(m, len(c.claims), (n+len(members)-1)/len(members))
			for id := range c.claims {
				all = append(all, id)
			}
		case !c.disconnected:
			require.Len(m, c.claims, n)
		}
	}
	if len(members) > 0 {
		slices.Sort(all)
		require.Len(m, slices.Compact(all), n, "each partition has one owner")
	}
}
