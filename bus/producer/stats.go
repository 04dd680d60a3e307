package producer

// Stats are a producer's counts since it was made, and what it holds now.
type Stats struct {
	// Accepted counts the messages that got, or will get, a report; Refused those that
	// were not accepted.
	Accepted uint64 `json:"accepted"`
	Refused  uint64 `json:"refused"`
	// Sent, Failed and Unknown count the reports: the log has the message, it has not,
	// or nobody knows.
	Sent    uint64 `json:"sent"`
	Failed  uint64 `json:"failed"`
	Unknown uint64 `json:"unknown"`
	// Retried counts how often the transport gave a message back that is tried again.
	Retried uint64 `json:"retried"`
	// Queued messages wait to be handed over, InFlight ones for their outcome.
	// Messages and Bytes are all that have no report yet.
	Queued   int `json:"queued"`
	InFlight int `json:"in_flight"`
	Messages int `json:"messages"`
	Bytes    int `json:"bytes"`
}

// Stats returns the counts. Accepted = Sent + Failed + Unknown + Messages holds in
// each.
func (p *Producer) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Queued, s.InFlight, s.Messages, s.Bytes = p.queue.Len()+len(p.failed), len(p.out), p.held, p.bytes
	return s
}
