package devices

import (
	"log/slog"
	"strconv"

	"github.com/trunkline/trunkline"
	"github.com/trunkline/trunkline/bus/driver"
	"github.com/trunkline/trunkline/transport/kafka"
)

// KafkaConfig says how to connect to Kafka, from a program's configuration: the
// example programs are in processes of their own, which only Kafka connects.
func KafkaConfig(c trunkline.Config, log *slog.Logger) (kafka.Config, error) {
	u, err := driver.ParseURL(c.BusURL)
	if err == nil {
		err = u.Done()
	}
	if err != nil {
		return kafka.Config{}, err
	}
	if u.Scheme != "kafka" {
		return kafka.Config{}, &trunkline.ConfigError{Field: "BusURL",
			Reason: "is " + strconv.Quote(u.Scheme) + "://: this program talks to other processes, set -bus to kafka://host:port,host:port"}
	}
	k := kafka.Config{Brokers: u.Hosts(), ClientID: c.Service, SASL: c.Kafka.SASL, User: c.Kafka.User, Logger: log}
	if c.Kafka.TLS {
		k.TLSFrom = &kafka.TLS{CA: pem(c.Kafka.CAFile), Cert: pem(c.Kafka.CertFile), Key: pem(c.Kafka.KeyFile), ServerName: c.Kafka.ServerName}
	}
	if c.Kafka.PasswordFile != "" || c.Kafka.Password.IsSet() {
		k.Password = c.Kafka.ReadPassword
	}
	return k, nil
}

func pem(file string) kafka.PEM {
	if file == "" {
		return kafka.PEM{}
	}
	return kafka.PEMFile(file)
}
