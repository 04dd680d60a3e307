// Package replytopic defines the names of the reply topics that clients create.
package replytopic

import "regexp"

// Prefix begins the name of every reply topic.
const Prefix = "trunkline.reply."

// MethodAlive is the method that asks whether a reply topic still has a reader. The reader
// answers requests for it on that topic.
const MethodAlive = "trunkline.alive"

var ofInstance = regexp.MustCompile(`^trunkline\.reply\.([A-Za-z0-9._-]{1,100})\.([a-z2-7]{26})$`)

// Allowed reports whether servers send replies to topic by default.
func Allowed(topic string) bool { return len(topic) > len(Prefix) && topic[:len(Prefix)] == Prefix }

// Parse returns the client name and the random instance part in the name of a reply topic.
// ok is false for any other topic, and for shared reply topics.
func Parse(topic string) (client, instance string, ok bool) {
	part := ofInstance.FindStringSubmatch(topic)
	if part == nil {
		return "", "", false
	}
	return part[1], part[2], true
}
