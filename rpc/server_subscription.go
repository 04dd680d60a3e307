package rpc

import (
	"time"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/internal/delivery"
	"github.com/trunkline/trunkline/internal/seam"
)

const (
	defaultConcurrency = 64
	// windowBeyondConcurrency is added to the concurrency for the default window. The
	// server needs it for requests that wait, and for cancel messages.
	windowBeyondConcurrency = 64
)

// subscription is what the server needs from the settings of its subscriptions.
type subscription struct {
	concurrency  int  // handlers that run at once
	atMostOnce   bool // requests are acknowledged before their handlers run
	deadLetters  bool // there is a dead-letter topic
	canRedeliver bool // an unacknowledged request is delivered to another server
	settleLater  bool // no goroutine waits for the outcome of a reply
}

// resolveSubscription checks the subscription options.
func (s *Server) resolveSubscription() error {
	var concurrency int
	readConcurrency := delivery.Option(func(st *delivery.Settings) error { concurrency = st.Concurrency; return nil })
	opts := []delivery.SubscribeOption{s.defaultSettings("*")}
	for _, o := range s.cfg.subscribe {
		opts = append(opts, o)
	}
	opts = append(opts, readConcurrency, delivery.Option(s.fixSettings)) // before fixSettings sets it to 0
	settings, err := seam.Of(s.bus).Check("*", false, opts...)           // the settings do not depend on the topic
	if err != nil {
		return busError("NewServer: ", err)
	}
	s.subscription = subscription{
		concurrency:  concurrency,
		atMostOnce:   settings.AtMostOnce,
		deadLetters:  settings.DeadLetterTopic != "",
		canRedeliver: s.bus.Capabilities().Redelivery && settings.Group != "",
		settleLater:  !settings.AtMostOnce && settings.Order != delivery.OrderByPartition,
	}
	return nil
}

// subscribeOptions returns the options of the subscription to topic: the defaults of a
// server, the options of the user, and the settings that the user must not change.
func (s *Server) subscribeOptions(topic string) []bus.SubscribeOption {
	opts := make([]bus.SubscribeOption, 0, len(s.cfg.subscribe)+3)
	opts = append(opts, s.defaultSettings(topic))
	opts = append(opts, s.cfg.subscribe...)
	return append(opts, delivery.Option(s.fixSettings))
}

func (s *Server) defaultSettings(topic string) delivery.Option {
	caps := s.bus.Capabilities()
	return func(st *delivery.Settings) error {
		st.Group, st.Start, st.Window, st.Concurrency = "", nil, 0, defaultConcurrency
		if caps.Groups {
			st.Group = "trunkline.rpc." + topic
		}
		// A delivery fails when its reply is not published. The reply is in the cache, so a
		// new attempt is cheap and follows soon.
		st.MinBackoff, st.MaxBackoff = 50*time.Millisecond, time.Second
		switch {
		case !caps.Ordered:
			st.Order = delivery.Unordered
		case !caps.Keys:
			st.Order = delivery.OrderByPartition
		default:
			st.Order = delivery.OrderByKey
		}
		return nil
	}
}

func (s *Server) fixSettings(st *delivery.Settings) error {
	if st.Batch != nil {
		return delivery.Invalid("an RPC server handles requests one at a time: remove BatchSize and BatchAge")
	}
	if st.Window == 0 {
		st.Window = windowBeyondConcurrency + st.Concurrency
	}
	// The server limits its handlers itself. If the bus limited them, cancel messages would
	// wait behind the requests that they cancel.
	st.Concurrency = 0
	st.Reuse = true
	canRedeliver := s.bus.Capabilities().Redelivery && st.Group != ""
	st.DrainFetched = !s.cfg.leaveOnShutdown || !canRedeliver
	return nil
}
