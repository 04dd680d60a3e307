package devices

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The methods: MethodRegister is the core's, the others the adapter's.
const (
	MethodRegister  = "core.register"
	MethodAdopt     = "adapter.adopt"
	MethodConfigure = "adapter.configure"
	MethodEnable    = "adapter.enable"
)

// Step is one of the calls that bring a device into service, in their order. It is
// also the device's state once that call is done.
type Step int

// The steps.
const (
	// New: nothing was done yet.
	New Step = iota
	// Adopt makes the device known to the adapter.
	Adopt
	// Configure gives it its settings.
	Configure
	// Enable puts it into service.
	Enable
)

// StepsPerDevice is how many calls a device takes.
const StepsPerDevice = int(Enable)

// String returns the step's name.
func (s Step) String() string {
	switch s {
	case New:
		return "new"
	case Adopt:
		return "adopt"
	case Configure:
		return "configure"
	case Enable:
		return "enable"
	default:
		return fmt.Sprintf("Step(%d)", int(s))
	}
}

// Method returns the adapter's method for the step.
func (s Step) Method() string { return "adapter." + s.String() }

// RegisterRequest is what an adapter tells the core. It travels as JSON.
type RegisterRequest struct {
	// Adapter is the adapter's name.
	Adapter string `json:"adapter"`
	// Topic is where the adapter serves its methods.
	Topic string `json:"topic"`
}

// RegisterResponse is the core's answer.
type RegisterResponse struct {
	// Core is the core's name.
	Core string `json:"core"`
}

// AdoptRequest travels as JSON.
type AdoptRequest struct {
	Device string `json:"device"`
	Serial string `json:"serial"`
	Ports  int    `json:"ports"`
}

// ConfigureRequest travels as JSON.
type ConfigureRequest struct {
	Device  string `json:"device"`
	VLAN    int    `json:"vlan"`
	Profile string `json:"profile"`
}

// Answer is what the adapter answers to every step. It travels as JSON.
type Answer struct {
	Device string `json:"device"`
	// State is the step that is done.
	State string `json:"state"`
	// Receipt shows that the adapter has read the very request.
	Receipt string `json:"receipt"`
}

// AdoptOf is the one right request to adopt a device.
func AdoptOf(device string) AdoptRequest {
	sum := sum(device, "serial")
	return AdoptRequest{Device: device, Serial: hex.EncodeToString(sum[:6]), Ports: 1 + int(sum[6])%64}
}

// ConfigureOf is the one right request to configure a device.
func ConfigureOf(device string) ConfigureRequest {
	sum := sum(device, "settings")
	return ConfigureRequest{Device: device, VLAN: 1 + (int(sum[0])<<8|int(sum[1]))%4094, Profile: "line-" + hex.EncodeToString(sum[2:6])}
}

// EnableOf is the one right request to enable a device. It travels as protobuf.
func EnableOf(device string) *wrapperspb.StringValue { return wrapperspb.String(device) }

// RequestOf is the one right request of a step, to be given to rpc.Call.
func RequestOf(step Step, device string) any {
	switch step {
	case Adopt:
		return AdoptOf(device)
	case Configure:
		return ConfigureOf(device)
	default:
		return EnableOf(device)
	}
}

// AnswerOf is the one right answer to a step.
func AnswerOf(step Step, device string) Answer {
	sum := sum(device, step.String())
	return Answer{Device: device, State: step.String(), Receipt: hex.EncodeToString(sum[:8])}
}

// asSent says whether got is the step's one right request.
func asSent(step Step, device string, got any) bool {
	want := RequestOf(step, device)
	if m, ok := want.(proto.Message); ok {
		g, ok := got.(proto.Message)
		return ok && proto.Equal(m, g)
	}
	return got == want
}

func sum(device, what string) [sha256.Size]byte { return sha256.Sum256([]byte(what + "\x00" + device)) }
