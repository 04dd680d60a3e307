// Package replytopic has the names of the reply topics that clients create.
package replytopic

import "regexp"

// Prefix begins the name of every reply topic.
const Prefix = "trunkline.reply."

// MethodAlive is a method that the reader of a reply topic answers on that topic, to show
// that it still reads it.
const MethodAlive = "trunkline.alive"

var ofInstance = regexp.MustCompile(`^trunkline\.reply\.([A-Za-z0-9._-]{1,100})\.([a-z2-7]{26})$`)

// Allowed reports whether servers answer to topic by default.
func Allowed(topic string) bool { return len(topic) > len(Prefix) && topic[:len(Prefix)] == Prefix }

// Parse returns the client's name and the random part of its instance, for the reply topic
// that one instance created. ok is false for any other topic.
func Parse(topic string) (client, instance string, ok bool) {
	part := ofInstance.FindStringSubmatch(topic)
	if part == nil {
		return "", "", false
	}
	return part[1], part[2], true
}
