//go:build unix

package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const (
	controllerListener = "CONTROLLER"
	plaintextListener  = "PLAINTEXT"
)

// A listener is one way into a node. Its settings are written with the prefix
// that makes them its own (listener.name.<name>.), so listeners of other
// security protocols can stand beside the plain one.
type listener struct {
	name     string // unique on the node
	protocol string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
	port     int
	internal bool // not told to clients
	settings map[string]string
}

func (l listener) url() string { return fmt.Sprintf("%s://127.0.0.1:%d", l.name, l.port) }

func (n node) listeners() []listener {
	return []listener{
		{name: plaintextListener, protocol: "PLAINTEXT", port: n.Port},
		{name: controllerListener, protocol: "PLAINTEXT", port: n.ControllerPort, internal: true},
	}
}

// properties returns the server.properties of a node among nodes. Whatever
// keeps a small cluster slow for no gain to a test is turned down: start-up
// delays, the time until a lost broker is noticed, partitions of the internal
// topics.
func properties(n node, nodes []node) string {
	replicas := strconv.Itoa(len(nodes))
	inSync := strconv.Itoa(min(2, len(nodes)))
	p := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          strconv.Itoa(n.ID),
		"controller.quorum.voters":                         voters(nodes),
		"controller.listener.names":                        controllerListener,
		"inter.broker.listener.name":                       plaintextListener,
		"log.dirs":                                         n.dataDir(),
		"num.partitions":                                   "1",
		"default.replication.factor":                       replicas,
		"min.insync.replicas":                              inSync,
		"unclean.leader.election.enable":                   "false",
		"auto.create.topics.enable":                        "false",
		"offsets.topic.replication.factor":                 replicas,
		"offsets.topic.num.partitions":                     "8",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    inSync,
		"transaction.state.log.num.partitions":             "8",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            inSync,
		"group.initial.rebalance.delay.ms":                 "0",
		"group.min.session.timeout.ms":                     "500",
		"num.network.threads":                              "2",
		"num.io.threads":                                   "4",
		"broker.session.timeout.ms":                        "3000",
		"broker.heartbeat.interval.ms":                     "500",
		"controller.quorum.election.timeout.ms":            "1000",
		"controller.quorum.fetch.timeout.ms":               "2000",
	}
	var all, advertised, protocols []string
	for _, l := range n.listeners() {
		all = append(all, l.url())
		protocols = append(protocols, l.name+":"+l.protocol)
		if !l.internal {
			advertised = append(advertised, l.url())
		}
		for key, value := range l.settings {
			p["listener.name."+strings.ToLower(l.name)+"."+key] = value
		}
	}
	p["listeners"] = strings.Join(all, ",")
	p["advertised.listeners"] = strings.Join(advertised, ",")
	p["listener.security.protocol.map"] = strings.Join(protocols, ",")

	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", key, escape.Replace(p[key]))
	}
	return b.String()
}

// escape makes a value safe for Java's properties format.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)

func voters(nodes []node) string {
	v := make([]string, len(nodes))
	for i, n := range nodes {
		v[i] = fmt.Sprintf("%d@127.0.0.1:%d", n.ID, n.ControllerPort)
	}
	return strings.Join(v, ",")
}

// logging sends a node's log to the file that -Dtrunkline.log names.
const logging = `status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName=${sys:trunkline.log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{HH:mm:ss.SSS} %p %m (%c)%n
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
`
