package rpc

import (
	"context"
	"sync"
	"time"

	"github.com/trunkline/trunkline/rpc/frame"
	"github.com/trunkline/trunkline/rpc/internal/lazyctx"
)

// CallInfo describes the call that a handler answers. It must not be changed.
type CallInfo struct {
	// Topic is the topic that the request was read from.
	Topic string
	// Method is the method to run, and Key the key of the request.
	Method, Key string
	// Caller is the id of the calling client. Caller and ID together are unique.
	Caller, ID string
	// IdempotencyKey is that of the option [IdempotencyKey]; "" means none.
	IdempotencyKey string
	// Attempt is 1 for the first attempt of the client. Redelivery by the transport does
	// not change it.
	Attempt int
	// Deadline is when the caller stops waiting; the zero time means never.
	Deadline time.Time
	// Metadata is that of the request. It may be nil.
	Metadata Metadata
}

// FromContext returns the call that the handler with this context answers. It returns false
// outside a handler. The context of a handler ends at the deadline of the call, when the
// caller cancels, when the partition of the request is revoked, and when the context of
// [Server.Shutdown] ends.
func FromContext(ctx context.Context) (*CallInfo, bool) {
	info, ok := ctx.Value(infoKey{}).(*CallInfo)
	return info, ok
}

type infoKey struct{}

// exchange is what the server needs to answer one request, in one allocation.
type exchange struct {
	frame frame.Frame
	ctx   handlerContext
	req   Request

	infoMu sync.Mutex
	info   *CallInfo // made on first use
}

// handlerContext is the context of a handler.
type handlerContext struct {
	lazyctx.Context
	exchange *exchange
}

// Value implements context.Context.
func (c *handlerContext) Value(key any) any {
	if key == (infoKey{}) {
		return c.exchange.callInfo()
	}
	return c.Context.Value(key)
}

func (x *exchange) callInfo() *CallInfo {
	x.infoMu.Lock()
	defer x.infoMu.Unlock()
	if x.info == nil {
		f := &x.frame
		x.info = &CallInfo{
			Topic: f.Topic, Method: f.Method, Key: f.Key, Caller: f.Caller, ID: f.ID, IdempotencyKey: f.IdempotencyKey,
			Attempt: f.Attempt, Deadline: f.Deadline, Metadata: f.Metadata,
		}
	}
	return x.info
}
