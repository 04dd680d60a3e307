// Package discoverywire defines the topic, the methods and the request of the discovery
// protocol. docs/wire.md specifies it.
package discoverywire

// DefaultTopic is the topic for discovery requests.
const DefaultTopic = "trunkline.discovery"

// The methods of a discoverable server on the discovery topic. A request is a Request. The
// replies are an rpc.Pong, an rpc.ServiceInfo and an rpc.ServiceStats.
const (
	MethodPing  = "trunkline.ping"
	MethodInfo  = "trunkline.info"
	MethodStats = "trunkline.stats"
)

// Request asks all servers, those of one service, or one server. Other servers do not
// answer.
type Request struct {
	// Service is the name of a service; "" means all.
	Service string `json:"service,omitempty"`
	// Instance is the id of a server; "" means all.
	Instance string `json:"instance,omitempty"`
}
