package bustest

import (
	"strings"
	"time"
)

// Expect waits for a message that was published to the topic, "" for any topic, and has all
// of the properties, and returns the first one. Each message is expected once: the next
// Expect looks for another. It finds what was published before, too, and never what the test
// itself has published. When there is none in time the test fails, and says what there is.
func (k *Kit) Expect(topic string, properties ...Property) Message {
	k.t.Helper()
	k.mayBeLookedFor(properties, false)
	d, found, bound := k.await(func() []Delivery { return k.published(topic) }, properties)
	if !found {
		k.t.Fatalf("bustest: no message%s%s %s\n%s", on(topic), with(properties), bound, k.report(topic, false, properties))
	}
	return d.Message
}

// ExpectDelivered waits for a delivery of a message of the topic, "" for any topic, that has
// all of the properties, those of deliveries ([Acknowledged], [ToGroup]) among them, and
// returns the first one. A delivery is there when its handler has returned. Each is
// expected once. It finds deliveries of what the test has published, too.
func (k *Kit) ExpectDelivered(topic string, properties ...Property) Delivery {
	k.t.Helper()
	k.mayBeLookedFor(properties, true)
	d, found, bound := k.await(func() []Delivery { return k.rec.Deliveries(topic) }, properties)
	if !found {
		k.t.Fatalf("bustest: no delivery%s%s %s\n%s", on(topic), with(properties), bound, k.report(topic, true, properties))
	}
	return d
}

// ExpectNone waits until all is quiet, see [Kit.Settle], and fails the test when a message
// was published to the topic, "" for any topic, that has all of the properties and was not
// expected.
func (k *Kit) ExpectNone(topic string, properties ...Property) {
	k.t.Helper()
	k.Settle()
	k.ExpectNoneYet(topic, properties...)
}

// ExpectNoneYet is ExpectNone without waiting: it looks at what was published so far.
func (k *Kit) ExpectNoneYet(topic string, properties ...Property) {
	k.t.Helper()
	k.mayBeLookedFor(properties, false)
	k.none("message", topic, k.published(topic), properties)
}

// ExpectNoneDelivered waits until all is quiet, and fails the test when there was a delivery
// of a message of the topic, "" for any topic, that has all of the properties and was not
// expected.
func (k *Kit) ExpectNoneDelivered(topic string, properties ...Property) {
	k.t.Helper()
	k.mayBeLookedFor(properties, true)
	k.Settle()
	k.none("delivery", topic, k.rec.Deliveries(topic), properties)
}

func (k *Kit) none(what, topic string, all []Delivery, properties []Property) {
	k.t.Helper()
	var unwanted []Delivery
	for _, d := range all {
		if k.unlike(&d, properties) == "" {
			unwanted = append(unwanted, d)
		}
	}
	if len(unwanted) > 0 {
		var b strings.Builder
		list(&b, unwanted, what == "delivery", nil)
		k.t.Fatalf("bustest: no %s was expected%s%s, and there are %d:\n%s", what, on(topic), with(properties), len(unwanted),
			strings.TrimSuffix(b.String(), "\n"))
	}
}

// published returns the messages in the log in the form of deliveries.
func (k *Kit) published(topic string) []Delivery {
	ms := k.rec.Published(topic)
	all := make([]Delivery, len(ms))
	for i, m := range ms {
		all[i].Message = m
	}
	return all
}

// await waits for one that has the properties, and takes it.
func (k *Kit) await(look func() []Delivery, properties []Property) (found Delivery, ok bool, bound string) {
	w := k.wait()
	defer w.end()
	for {
		news := k.rec.news()
		for _, d := range look() {
			if k.unlike(&d, properties) == "" && k.take(d.number) {
				return d, true, ""
			}
		}
		select {
		case <-news:
		case <-w.ctx.Done():
			return Delivery{}, false, w.bound()
		}
	}
}

// take returns whether nobody has expected it before.
func (k *Kit) take(number int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.taken[number] {
		return false
	}
	k.taken[number] = true
	return true
}

// unlike says why d is not what is looked for, "" when it is.
func (k *Kit) unlike(d *Delivery, properties []Property) string {
	k.mu.Lock()
	taken := k.taken[d.number]
	k.mu.Unlock()
	switch {
	case d.byTest:
		return "the test itself has published it"
	case taken:
		return "it was expected before"
	}
	return unlike(d, properties)
}

func unlike(d *Delivery, properties []Property) string {
	for _, p := range properties {
		if why := p.unlike(d); why != "" {
			return why
		}
	}
	return ""
}

// mayBeLookedFor fails the test for a property that can't be looked for here.
func (k *Kit) mayBeLookedFor(properties []Property, inDeliveries bool) {
	k.t.Helper()
	for _, p := range properties {
		switch {
		case p.unlike == nil:
			k.t.Fatalf("bustest: %s is something to give to a message, it can't be expected of one", p.name)
		case p.deliveries && !inDeliveries:
			k.t.Fatalf("bustest: %q is something of deliveries: use ExpectDelivered", p.name)
		}
	}
}

// pollEvery is how often what nobody tells of is looked at.
const pollEvery = 5 * time.Millisecond

// on and with are parts of failure messages.
func on(topic string) string {
	if topic == "" {
		return " on any topic"
	}
	return " on " + quote(topic)
}

func with(properties []Property) string {
	names := make([]string, len(properties))
	for i, p := range properties {
		names[i] = p.name
	}
	if len(names) == 0 {
		return ""
	}
	return " with " + strings.Join(names, ", ")
}
