// Package excerpt makes text from messages safe for error texts and logs.
package excerpt

import "strconv"

const maxBytes = 40

// Of quotes s for an error text or a log line, and truncates it after 40 bytes. The result
// is a Go string literal in ASCII or printable Unicode, so s cannot start a new line in a
// log.
func Of(s string) string {
	if len(s) > maxBytes {
		return strconv.Quote(s[:maxBytes]) + "…"
	}
	return strconv.Quote(s)
}
