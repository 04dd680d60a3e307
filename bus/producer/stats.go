package producer

// Stats are the counters of a producer since New, and the messages that it has now.
type Stats struct {
	// Accepted counts messages that have a report or will get one. Rejected counts
	// messages that Send and SendAsync did not accept.
	Accepted uint64 `json:"accepted"`
	Rejected uint64 `json:"rejected"`
	// Sent counts reports of messages that the log has, Failed those of messages that it
	// does not have, and Unknown those with bus.CodeOutcomeUnknown.
	Sent    uint64 `json:"sent"`
	Failed  uint64 `json:"failed"`
	Unknown uint64 `json:"unknown"`
	// Retried counts how often the transport returned a message as not sent and the
	// producer kept it for another attempt. The producer does not make the attempt if it
	// would break the order of the key.
	Retried uint64 `json:"retried"`
	// Queued messages wait to be sent. InFlight messages wait for their outcome.
	Queued   int `json:"queued"`
	InFlight int `json:"in_flight"`
	// Outstanding counts the messages without a report, and OutstandingBytes their bytes.
	// WithMaxOutstanding limits both.
	Outstanding      int `json:"outstanding"`
	OutstandingBytes int `json:"outstanding_bytes"`
}

// Stats returns a consistent copy: Accepted = Sent + Failed + Unknown + Outstanding.
func (p *Producer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Queued, s.InFlight = p.queue.Len()+len(p.returned), len(p.inFlight)
	s.Outstanding, s.OutstandingBytes = p.outstanding, p.bytes
	return s
}
