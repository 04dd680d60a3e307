package dlq

import "time"

// Selection selects letters: those that match all of its fields. The zero Selection
// selects every letter.
type Selection struct {
	// Places are the places to select; nil means all.
	Places map[Place]bool
	// Origin is the topic of the original message, Group the consumer group that could not
	// handle it, and Code the code of the error; "" means any.
	Origin, Group, Code string
	// Since is the oldest timestamp to select; zero means any.
	Since time.Time
}

// Empty reports whether it selects every letter.
func (s *Selection) Empty() bool {
	return s.Places == nil && s.Origin == "" && s.Group == "" && s.Code == "" && s.Since.IsZero()
}

// Selects reports whether the letter matches.
func (s *Selection) Selects(l *Letter) bool {
	return (s.Places == nil || s.Places[l.Place]) &&
		(s.Origin == "" || s.Origin == l.Origin) &&
		(s.Group == "" || s.Group == l.Group) &&
		(s.Code == "" || s.Code == l.Code) &&
		!l.Time.Before(s.Since)
}
