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

// Job lists, replays or drops letters of a dead-letter topic.
type Job struct {
	Bus   *bus.Bus
	Topic string
	// Group is the consumer group that records which letters are done. With "" a job
	// covers all letters in the log, and its verb must be Look.
	Group string
	// Verb is what the job does with the letters: Look, Replay or Drop.
	Verb Verb
	// Selection selects the letters. Limit is the largest number of letters to process; 0
	// means no limit.
	Selection Selection
	Limit     int
	// To is the topic to replay to. "" means the origin of each letter.
	To string
	// KeepTime publishes letters with the timestamp of the original message.
	KeepTime bool
	// Quiet is how long a partition must be silent to count as read, if the broker does not
	// report its end.
	Quiet time.Duration
	// Each is called for every selected letter, in order, with its error.
	Each func(l *Letter, err error)
}

// Verb is the action of a Job.
type Verb string

// The verbs. Look only lists letters.
const (
	Look   Verb = "look"
	Replay Verb = "replay"
	Drop   Verb = "drop"
)

// Summary is the result of a Job.
type Summary struct {
	// Done counts the letters that are done, and Failed those with an error.
	Done   int `json:"done"`
	Failed int `json:"failed"`
	// Left counts the selected letters beyond Limit.
	Left int `json:"left"`
	// Missing are the partitions that another member of the group owns.
	Missing []int32 `json:"missing_partitions,omitempty"`
}

// chunkSize is the number of letters that are published at once.
const chunkSize = 256

// Run does the job on the letters that are in the topic when it begins. If it fails, or ctx
// ends, it still records the letters that are done; finish bounds that.
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
			err = errors.Join(err, w.finish(bounded), w.progress.leave(bounded))
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

// work is a running Job. Scans call it from one goroutine at a time.
type work struct {
	Job
	progress *progress
	ends     map[int32]int64 // the end offsets, at the beginning
	first    map[int32]int64 // the committed offsets, at the beginning
	noted    map[Place]bool  // done in earlier runs
	taken    int
	chunk    []*Letter
	undone   map[int32]bool    // partitions with a letter that is not done
	out      map[int32][]int64 // for the notes: the offsets of done letters that follow a letter that is not done
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

// record processes one record.
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
	selected := w.Selection.Selects(l)
	if selected && w.Limit > 0 && w.taken == w.Limit {
		w.summary.Left++
		selected = false
	}
	if !selected {
		if err := w.flush(ctx); err != nil { // earlier letters are done in order
			return err
		}
		w.undone[r.Partition] = true
		return nil
	}
	w.taken++
	w.chunk = append(w.chunk, l)
	if len(w.chunk) < chunkSize {
		return nil
	}
	return w.flush(ctx)
}

// pass marks a record that needs no work as done, so that the committed offset advances.
func (w *work) pass(at Place) {
	if w.progress != nil && w.Verb != Look {
		w.progress.markDone(at)
	}
}

// flush processes the letters of the chunk.
func (w *work) flush(ctx context.Context) error {
	letters := w.chunk
	w.chunk = nil
	if len(letters) == 0 {
		return nil
	}
	errs, stop := w.process(ctx, letters)
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
			w.progress.markDone(l.Place)
		}
	}
	if stop != nil {
		return stop // finish writes the notes
	}
	return w.note(ctx)
}

// process replays or drops the letters. It returns the error of each letter, and an error if
// the job must stop.
func (w *work) process(ctx context.Context, letters []*Letter) (errs []error, stop error) {
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
			errs[i] = fmt.Errorf("another member of the group owns partition %d now: %w", l.Partition, cause)
		case w.Verb == Drop:
		case target == "":
			errs[i] = errors.New("the letter has no origin topic: set the topic to replay it to")
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

// publish publishes the letters at these indices and sets their errors. It returns an error
// only if publishing the next letters would fail with the same error.
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
		return nil // other topics and letters may succeed
	default:
		return err
	}
}

// finish records the letters that are done, for the next run.
func (w *work) finish(ctx context.Context) error {
	if w.Verb == Look {
		return nil
	}
	return errors.Join(w.note(ctx), w.progress.settle(ctx, w.ends))
}

// note writes the notes. They list done letters that follow a letter that is not done.
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
