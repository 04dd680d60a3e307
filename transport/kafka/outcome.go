package kafka

import (
	"errors"

	"github.com/IBM/sarama"

	"github.com/trunkline/trunkline/bus/driver"
)

// succeeded completes a message that the log has.
func succeeded(rec *sarama.ProducerMessage) {
	msg := rec.Metadata.(*pendingMessage)
	msg.leaveInFlight()
	msg.via.client.net.traffic.produced.Add(1)
	msg.out.Complete(driver.Outcome{Partition: rec.Partition, Offset: rec.Offset})
	msg.via.pending.Done()
	msg.buf.release()
}

// failed completes a message that sarama has given up on. It marks the asyncProducer as
// unusable unless the error concerns only this message.
func failed(e *sarama.ProducerError) {
	msg := e.Msg.Metadata.(*pendingMessage)
	msg.buf.failed.Store(true)
	msg.leaveInFlight()
	code := codeOf(e.Err)
	if code == driver.CodeNotFound {
		msg.via.topics.Delete(msg.out.Topic)
	}
	if errors.Is(e.Err, sarama.ErrOutOfBrokers) {
		msg.via.noBrokers.Store(true)
	}
	if !isRejection(code) && !errors.Is(e.Err, errNoSuchPartition) {
		msg.via.unusable.Store(true)
	}
	msg.out.Complete(driver.Failed(msg.outcomeError(e.Err, code)))
	msg.via.pending.Done()
	msg.buf.release()
}

// outcomeError returns the error of a message that sarama has given up on. The error says
// whether the log can contain the message.
func (m *pendingMessage) outcomeError(err error, code driver.Code) error {
	topic := m.out.Topic
	switch {
	case errors.Is(err, errNoSuchPartition):
		return failCode(driver.CodeInvalidArgument, "publish", topic, "", err)
	case isRejection(code):
		return fail("publish", topic, err)
	case neverSent(err), m.noConnection && m.via.client.net.opened.Load() == m.connsOpened:
		return failCode(driver.CodeUnavailable, "publish", topic, "nothing was sent", err)
	default:
		return failCode(driver.CodeOutcomeUnknown, "publish", topic, "the log may or may not contain the message", err)
	}
}
