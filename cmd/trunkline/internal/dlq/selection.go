package dlq

import "time"

// Selection says which letters are meant: those that fit all of it. The zero
// Selection is every letter.
type Selection struct {
	// Places are the only ones that are meant; nil for any.
	Places map[Place]bool
	// Origin is the original's topic, Group the one that could not handle it, Code the
	// error's; "" for any.
	Origin, Group, Code string
	// Since is the oldest time; zero for any.
	Since time.Time
}

// Empty says whether it means every letter.
func (s *Selection) Empty() bool {
	return s.Places == nil && s.Origin == "" && s.Group == "" && s.Code == "" && s.Since.IsZero()
}

// Means says whether the letter is meant.
func (s *Selection) Means(l *Letter) bool {
	return (s.Places == nil || s.Places[l.Place]) &&
		(s.Origin == "" || s.Origin == l.Origin) &&
		(s.Group == "" || s.Group == l.Group) &&
		(s.Code == "" || s.Code == l.Code) &&
		!l.Time.Before(s.Since)
}
