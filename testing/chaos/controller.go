package chaos

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Controller returns the node that is the active controller. It does not use metadata, because with KRaft
// the controller in metadata is any broker.
func (b Brokers) Controller(ctx context.Context) (int32, error) {
	var leader int32
	err := retry(ctx, func() error {
		var errs []error
		for _, addr := range b {
			var err error
			if leader, err = quorumLeader(ctx, addr); err == nil && leader >= 0 {
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(append(errs, errors.New("no broker reports an active controller"))...)
	})
	if err != nil {
		return -1, fmt.Errorf("chaos: find the active controller: %w", err)
	}
	return leader, nil
}

// quorumLeader sends a DescribeQuorum request, version 0, which sarama does not support.
func quorumLeader(ctx context.Context, addr string) (int32, error) {
	const (
		apiKey = 55
		topic  = "__cluster_metadata"
	)
	var body []byte
	body = binary.BigEndian.AppendUint16(body, apiKey)
	body = binary.BigEndian.AppendUint16(body, 0)        // version
	body = binary.BigEndian.AppendUint32(body, 1)        // correlation
	body = binary.BigEndian.AppendUint16(body, 5)        // length of the client id
	body = append(append(body, "chaos"...), 0)           // client id, and no tags
	body = append(body, 2, byte(len(topic)+1))           // one topic
	body = append(append(body, topic...), 2, 0, 0, 0, 0) // one partition: 0
	body = append(body, 0, 0, 0)                         // no tags, three times
	request := binary.BigEndian.AppendUint32(nil, uint32(len(body)))

	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return -1, err
	}
	if _, err := conn.Write(append(request, body...)); err != nil {
		return -1, fmt.Errorf("send a request to %s: %w", addr, err)
	}
	size := make([]byte, 4)
	if _, err := io.ReadFull(conn, size); err != nil {
		return -1, fmt.Errorf("read the response of %s: %w", addr, err)
	}
	response := make([]byte, min(binary.BigEndian.Uint32(size), 1<<16))
	if _, err := io.ReadFull(conn, response); err != nil {
		return -1, fmt.Errorf("read the response of %s: %w", addr, err)
	}
	// The sizes of the fields before the leader: correlation 4, tags 1, error 2, topics 1, name 1+n, partitions 1, index 4, error 2
	const at = 4 + 1 + 2 + 1 + 1 + len(topic) + 1 + 4 + 2
	if len(response) < at+4 {
		return -1, fmt.Errorf("the response of %s is too short: %d bytes", addr, len(response))
	}
	if code := binary.BigEndian.Uint16(response[at-2:]); code != 0 {
		return -1, fmt.Errorf("%s responded with error code %d", addr, code)
	}
	return int32(binary.BigEndian.Uint32(response[at:])), nil
}
