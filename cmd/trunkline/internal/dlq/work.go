package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/trunkline/trunkline/bus"
)

// Job says what to do with which letters of a dead-letter topic.
type Job struct {
	Bus   *bus.Bus
	Topic string
	// Group remembers what is dealt with. "" looks at everything that is still in the
	// log, and can only be a Look.
	Group string
	// Verb is what is done: Look, Replay or Drop.
	Verb Verb
	// Selection says which letters; Limit how many at the most, 0 for all.
	Selection Selection
	Limit     int
	// To is the topic to replay to, "" for each letter's origin.
	To string
	// KeepTime gives what is replayed the original's time.
	KeepTime bool
	// Quiet is how long to wait for what a broker says nothing of.
	Quiet time.Duration
	// Each is told of every letter that is meant, in order, with why it could not be
	// dealt with.
	Each func(l *Letter, err error)
}

// Verb is what a Job does.
type Verb string

// The verbs. Look changes nothing.
const (
	Look   Verb = "look"
	Replay Verb = "replay"
	Drop   Verb = "drop"
)

// Summary is what a Job did.
type Summary struct {
	// Done are dealt with, Failed could not be.
	Done   int `json:"done"`
	Failed int `json:"failed"`
	// Left are meant as well, and over the Limit.
	Left int `json:"left"`
	// Missing are partitions that another member of the group has.
	Missing []int32 `json:"missing_partitions,omitempty"`
}

// chunk is how many letters are published at once.
const chunk = 256

// Run does the job on what is in the topic when it begins. When it fails, or ctx ends,
// what was done until then is remembered all the same; finish bounds that.
func (j Job) Run(ctx context.Context, finish time.Duration) (s Summary, err error) {
	if _, err := j.Bus.DescribeTopic(ctx, j.Topic); err != nil {
		return s, err
	}
	w := &work{Job: j, undone: map[int32]bool{}, out: map[int32][]int64{}, noted: map[Place]bool{}}
	if j.Group != "" {
		if w.progress, err = join(ctx, j.Bus, j.Topic, j.Group); err != nil {
			return s, err
		}
		defer func() {
			bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
			defer cancel()
			err = errors.Join(err, w.remember(bounded), w.progress.leave(bounded))
		}()
	}
	if w.ends, err = Scan(ctx, j.Bus, j.Topic, j.Quiet, w.readNote); err != nil {
		return s, err
	}
	if w.progress != nil {
		if w.first, w.summary.Missing, err = w.progress.positions(ctx, w.ends, j.Quiet); err != nil {
			return w.summary, err
		}
	}
	err = ScanTo(ctx, j.Bus, j.Topic, w.ends, func(r *bus.Record) error { return w.record(ctx, r) })
	if err == nil || errors.Is(err, ErrEnough) {
		err = w.flush(ctx)
	}
	return w.summary, err
}

// work is a Job under way. Scans call it from one goroutine at a time.
type work struct {
	Job
	progress *progress
	ends     map[int32]int64 // of the partitions, when it began
	first    map[int32]int64 // the group's positions, when it began
	noted    map[Place]bool  // dealt with by earlier runs
	taken    int
	chunk    []*Letter
	undone   map[int32]bool    // partitions with a letter that is not dealt with
	out      map[int32][]int64 // dealt with out of turn, and to be noted
	summary  Summary
}

func (w *work) readNote(r *bus.Record) error {
	n := readNote(r)
	if n == nil || w.Group == "" || n.Group != w.Group {
		return nil
	}
	for _, o := range n.Offsets {
		w.noted[Place{r.Partition, o}] = true
	}
	return nil
}

// record decides about one record.
func (w *work) record(ctx context.Context, r *bus.Record) error {
	place := Place{r.Partition, r.Offset}
	if w.progress != nil {
		if first, ok := w.first[r.Partition]; !ok || r.Offset < first {
			return nil
		}
	}
	if readNote(r) != nil || w.noted[place] {
		w.pass(place)
		return nil
	}
	l := Read(r)
	means := w.Selection.Means(l)
	if means && w.Limit > 0 && w.taken == w.Limit {
		w.summary.Left++
		means = false
	}
	if !means {
		if err := w.flush(ctx); err != nil { // what comes before it is in turn
			return err
		}
		w.undone[r.Partition] = true
		return nil
	}
	w.taken++
	w.chunk = append(w.chunk, l)
	if len(w.chunk) < chunk {
		return nil
	}
	return w.flush(ctx)
}

// pass lets the position move over what is nothing to deal with.
func (w *work) pass(at Place) {
	if w.progress != nil && w.Verb != Look {
		w.progress.dealt(at)
	}
}

// flush deals with the letters that are gathered.
func (w *work) flush(ctx context.Context) error {
	letters := w.chunk
	w.chunk = nil
	if len(letters) == 0 {
		return nil
	}
	errs, stop := w.deal(ctx, letters)
	for i, l := range letters {
		w.Each(l, errs[i])
		if errs[i] != nil {
			w.summary.Failed++
			w.undone[l.Partition] = true
			continue
		}
		w.summary.Done++
		if w.Verb == Look {
			continue
		}
		if w.undone[l.Partition] {
			w.out[l.Partition] = append(w.out[l.Partition], l.Offset)
		} else {
			w.progress.dealt(l.Place)
		}
	}
	if stop != nil {
		return stop // remember writes the notes
	}
	return w.note(ctx)
}

// deal returns each letter's error, and why to go no further.
func (w *work) deal(ctx context.Context, letters []*Letter) (errs []error, stop error) {
	errs = make([]error, len(letters))
	if w.Verb == Look {
		return errs, nil
	}
	var topics []string
	to := map[string][]int{} // by target, in order
	for i, l := range letters {
		target := w.To
		if target == "" {
			target = l.Origin
		}
		switch cause := w.progress.lost(l.Partition); {
		case ctx.Err() != nil:
			errs[i], stop = ended(ctx, w.Topic), ended(ctx, w.Topic)
		case cause != nil:
			errs[i] = fmt.Errorf("another member of the group has partition %d now: %w", l.Partition, cause)
		case w.Verb == Drop:
		case target == "":
			errs[i] = errors.New("it does not say which topic it comes from: say where to replay it to")
		default:
			if to[target] == nil {
				topics = append(topics, target)
			}
			to[target] = append(to[target], i)
		}
	}
	for _, topic := range topics {
		if err := w.publish(ctx, topic, letters, to[topic], errs); err != nil {
			stop = err
		}
	}
	return errs, stop
}

// publish fills the errors of the letters at these indices, and returns one that the
// next letters would meet too.
func (w *work) publish(ctx context.Context, topic string, letters []*Letter, at []int, errs []error) error {
	msgs := make([]*message.Message, len(at))
	for i, n := range at {
		msgs[i] = letters[n].Message()
		if w.KeepTime && !letters[n].Time.IsZero() {
			bus.SetTimestamp(msgs[i], letters[n].Time)
		}
		msgs[i].SetContext(ctx)
	}
	err := w.Bus.Publish(topic, msgs...)
	if err == nil {
		return nil
	}
	all, ok := errors.AsType[*bus.PublishError](err)
	for i, n := range at {
		if errs[n] = err; ok {
			errs[n] = all.Outcomes[i].Err
		}
	}
	switch bus.CodeOf(err) {
	case bus.CodeNotFound, bus.CodeTooLarge, bus.CodePermissionDenied, bus.CodeInvalidArgument:
		return nil // another topic, or letter, may do better
	default:
		return err
	}
}

// remember sees to it that the next run knows what this one did.
func (w *work) remember(ctx context.Context) error {
	if w.Verb == Look {
		return nil
	}
	return errors.Join(w.note(ctx), w.progress.settle(ctx, w.ends))
}

// note writes down what was dealt with out of turn.
func (w *work) note(ctx context.Context) error {
	for partition, offsets := range w.out {
		slices.Sort(offsets)
		n := &note{Group: w.Group, Verb: w.Verb, Offsets: offsets}
		if err := n.publish(ctx, w.Bus, w.Topic, partition); err != nil {
			return err
		}
		delete(w.out, partition)
	}
	return nil
}
