//go:build unix

package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trunkline/trunkline/testing/kafkatest"
)

const (
	controllerListener = "CONTROLLER"
	plaintextListener  = "PLAINTEXT"
)

// A listener is an address of a node with its own security protocol. Its settings are
// written with the prefix listener.name.<name>., so they apply to this listener only.
type listener struct {
	name     string // unique on the node
	protocol string // PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL
	port     int
	internal bool // not advertised to clients
	settings map[string]string
}

func (l listener) url() string { return fmt.Sprintf("%s://127.0.0.1:%d", l.name, l.port) }

// listeners returns the listeners of a node: the plain-text one, the one for controllers,
// and the secured ones if the cluster has them.
func (s *state) listeners(n node) []listener {
	all := []listener{
		{name: plaintextListener, protocol: "PLAINTEXT", port: n.Port},
		{name: controllerListener, protocol: "PLAINTEXT", port: n.ControllerPort, internal: true},
	}
	if !s.secure() {
		return all
	}
	for _, name := range securedListeners {
		l := listener{name: name, protocol: name, port: n.SecurePorts[name], settings: make(map[string]string)}
		switch name {
		case kafkatest.ListenerSSL:
			s.addTLS(l, "requested")
		case kafkatest.ListenerMTLS:
			l.protocol = "SSL"
			s.addTLS(l, "required")
		case kafkatest.ListenerSASLPlaintext:
			s.addSASL(l)
		case kafkatest.ListenerSASLSSL:
			s.addTLS(l, "none")
			s.addSASL(l)
			l.settings["plain.connections.max.reauth.ms"] = strconv.Itoa(int(plainSessionLifetime.Milliseconds()))
		}
		all = append(all, l)
	}
	return all
}

// plainSessionLifetime is how long a login with PLAIN lasts at the SASL_SSL listener. It is
// short, so that a test can observe the renewal.
const plainSessionLifetime = 5 * time.Second

// securedListeners are the names of the secured listeners, in the order of their ports.
var securedListeners = []string{
	kafkatest.ListenerSSL, kafkatest.ListenerMTLS, kafkatest.ListenerSASLPlaintext, kafkatest.ListenerSASLSSL,
}

// addTLS adds the settings for TLS. clientAuth says whether the listener requests or
// requires a client certificate.
func (s *state) addTLS(l listener, clientAuth string) {
	maps.Copy(l.settings, map[string]string{
		"ssl.keystore.type":       "PEM",
		"ssl.keystore.location":   s.securePath(serverFile),
		"ssl.truststore.type":     "PEM",
		"ssl.truststore.location": s.securePath(caFile),
		"ssl.client.auth":         clientAuth,
	})
}

// addSASL adds the settings for all SASL mechanisms. The SCRAM credentials are in the
// nodes' metadata; format puts them there.
func (s *state) addSASL(l listener) {
	const (
		security = "org.apache.kafka.common.security."
		scram    = security + "scram.ScramLoginModule required;"
		bearer   = security + "oauthbearer.OAuthBearer"
	)
	maps.Copy(l.settings, map[string]string{
		"sasl.enabled.mechanisms":                        "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"plain.sasl.jaas.config":                         fmt.Sprintf(security+"plain.PlainLoginModule required user_%s=%q;", user, s.Password),
		"scram-sha-256.sasl.jaas.config":                 scram,
		"scram-sha-512.sasl.jaas.config":                 scram,
		"oauthbearer.sasl.jaas.config":                   bearer + "LoginModule required;",
		"oauthbearer.sasl.server.callback.handler.class": bearer + "ValidatorCallbackHandler",
		"oauthbearer.sasl.oauthbearer.jwks.endpoint.url": s.jwksURL(),
		"oauthbearer.sasl.oauthbearer.expected.audience": tokenAudience,
		"oauthbearer.sasl.oauthbearer.expected.issuer":   tokenIssuer,
	})
}

// properties returns the server.properties of a node. It lowers the settings that would
// make tests slow: start-up delays, the time until the cluster detects a lost broker, and
// the number of partitions of the internal topics.
func properties(n node, s *state) string {
	nodes := s.Nodes
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
	for _, l := range s.listeners(n) {
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

// escape escapes a value for Java's properties format.
var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`)

func voters(nodes []node) string {
	v := make([]string, len(nodes))
	for i, n := range nodes {
		v[i] = fmt.Sprintf("%d@127.0.0.1:%d", n.ID, n.ControllerPort)
	}
	return strings.Join(v, ",")
}

// logging makes a node write its log to the file that -Dtrunkline.log names.
const logging = `status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName=${sys:trunkline.log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{HH:mm:ss.SSS} %p %m (%c)%n
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
`
