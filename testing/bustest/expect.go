package bustest

import (
	"strings"
)

// Expect waits for a message that was published to the topic ("" means any topic) and has all of
// the properties, and returns the first such message. It also finds messages that were
// published before the call. It ignores messages that the test itself published, and messages
// that an earlier Expect has returned. At the time-out it fails the test and lists the messages
// that were published.
func (k *Kit) Expect(topic string, properties ...Property) Message {
	k.t.Helper()
	k.checkProperties(properties, false)
	d, found, bound := k.await(func() []Delivery { return k.published(topic) }, properties)
	if !found {
		k.t.Fatalf("bustest: no message%s%s %s\n%s", onTopic(topic), withProperties(properties), bound, k.report(topic, false, properties))
	}
	return d.Message
}

// ExpectDelivered waits for a delivery of a message of the topic ("" means any topic) that has
// all of the properties, and returns the first such delivery. The properties can include those
// of deliveries, such as [Acknowledged] and [ToGroup]. A delivery is recorded when its handler
// has returned. Unlike Expect, it also finds deliveries of messages that the test itself
// published. It ignores deliveries that an earlier ExpectDelivered has returned. At the time-out
// it fails the test and lists the deliveries.
func (k *Kit) ExpectDelivered(topic string, properties ...Property) Delivery {
	k.t.Helper()
	k.checkProperties(properties, true)
	d, found, bound := k.await(func() []Delivery { return k.rec.Deliveries(topic) }, properties)
	if !found {
		k.t.Fatalf("bustest: no delivery%s%s %s\n%s", onTopic(topic), withProperties(properties), bound, k.report(topic, true, properties))
	}
	return d
}

// ExpectNone waits until every message is acknowledged, see [Kit.WaitIdle]. Then it fails the
// test if a message was published to the topic ("" means any topic) that has all of the
// properties and that no Expect has returned.
func (k *Kit) ExpectNone(topic string, properties ...Property) {
	k.t.Helper()
	k.WaitIdle()
	k.ExpectNoneYet(topic, properties...)
}

// ExpectNoneYet is ExpectNone without the wait: it checks the messages that are published so far.
func (k *Kit) ExpectNoneYet(topic string, properties ...Property) {
	k.t.Helper()
	k.checkProperties(properties, false)
	k.checkNone("message", topic, k.published(topic), properties)
}

// ExpectNoneDelivered waits until every message is acknowledged, see [Kit.WaitIdle]. Then it
// fails the test if there was a delivery of a message of the topic ("" means any topic) that has
// all of the properties and that no ExpectDelivered has returned.
func (k *Kit) ExpectNoneDelivered(topic string, properties ...Property) {
	k.t.Helper()
	k.checkProperties(properties, true)
	k.WaitIdle()
	k.checkNone("delivery", topic, k.rec.Deliveries(topic), properties)
}

func (k *Kit) checkNone(what, topic string, all []Delivery, properties []Property) {
	k.t.Helper()
	unexpected := filter(all, func(d Delivery) bool { return k.mismatch(&d, properties) == "" })
	if len(unexpected) > 0 {
		var b strings.Builder
		writeList(&b, unexpected, what == "delivery", nil)
		k.t.Fatalf("bustest: expected no %s%s%s, got %d:\n%s", what, onTopic(topic), withProperties(properties), len(unexpected),
			strings.TrimSuffix(b.String(), "\n"))
	}
}

// published returns the published messages as deliveries, so that messages and deliveries share
// the code that matches them.
func (k *Kit) published(topic string) []Delivery {
	ms := k.rec.Published(topic)
	all := make([]Delivery, len(ms))
	for i, m := range ms {
		all[i].Message = m
	}
	return all
}

// await waits until list returns an item that matches and that no earlier call has returned.
func (k *Kit) await(list func() []Delivery, properties []Property) (found Delivery, ok bool, bound string) {
	w := k.startWait()
	defer w.cancel()
	for {
		changed := k.rec.changes()
		for _, d := range list() {
			if k.mismatch(&d, properties) == "" && k.markExpected(d.number) {
				return d, true, ""
			}
		}
		select {
		case <-changed:
		case <-w.ctx.Done():
			return Delivery{}, false, w.bound()
		}
	}
}

// markExpected returns false if the item was expected before.
func (k *Kit) markExpected(number int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.expected[number] {
		return false
	}
	k.expected[number] = true
	return true
}

// mismatch returns the reason why d does not match, or "" if it matches.
func (k *Kit) mismatch(d *Delivery, properties []Property) string {
	k.mu.Lock()
	expected := k.expected[d.number]
	k.mu.Unlock()
	switch {
	case d.byTest:
		return "the test itself published it"
	case expected:
		return "it was expected before"
	}
	return mismatch(d, properties)
}

func mismatch(d *Delivery, properties []Property) string {
	for _, p := range properties {
		if why := p.mismatch(d); why != "" {
			return why
		}
	}
	return ""
}

// checkProperties fails the test if one of the properties cannot be expected here.
func (k *Kit) checkProperties(properties []Property, ofDelivery bool) {
	k.t.Helper()
	for _, p := range properties {
		switch {
		case p.mismatch == nil:
			k.t.Fatalf("bustest: %s can only be set on a message, not expected", p.name)
		case p.deliveryOnly && !ofDelivery:
			k.t.Fatalf("bustest: %q is a property of deliveries: use ExpectDelivered", p.name)
		}
	}
}

// onTopic returns the part of a failure message that names the topic.
func onTopic(topic string) string {
	if topic == "" {
		return " on any topic"
	}
	return " on " + quote(topic)
}

// withProperties returns the part of a failure message that lists the properties.
func withProperties(properties []Property) string {
	names := make([]string, len(properties))
	for i, p := range properties {
		names[i] = p.name
	}
	if len(names) == 0 {
		return ""
	}
	return " with " + strings.Join(names, ", ")
}
