package codec

import (
	"errors"
	"fmt"
)

type rawCodec struct{}

func (rawCodec) ContentType() string { return "application/octet-stream" }

func (rawCodec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case []byte:
		return v, nil
	case *[]byte:
		if v == nil {
			return nil, errors.New("raw: the *[]byte is nil")
		}
		return *v, nil
	default:
		return nil, fmt.Errorf("raw: %T is not []byte", v)
	}
}

// Unmarshal copies data, because data may belong to a transport.
func (rawCodec) Unmarshal(data []byte, v any) error {
	p, ok := v.(*[]byte)
	if !ok || p == nil {
		return fmt.Errorf("raw: %T is not *[]byte", v)
	}
	*p = append(make([]byte, 0, len(data)), data...)
	return nil
}
