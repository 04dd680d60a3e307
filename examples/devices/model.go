package devices

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The methods. The core has MethodRegister, and the adapter the others.
const (
	MethodRegister  = "core.register"
	MethodAdopt     = "adapter.adopt"
	MethodConfigure = "adapter.configure"
	MethodEnable    = "adapter.enable"
)

// Step is one of the calls that bring a device into service, in order. It is also the state
// of the device after that call.
type Step int

// The steps.
const (
	// New is the state of a device before its first step.
	New Step = iota
	// Adopt adds the device to the adapter.
	Adopt
	// Configure sets the settings of the device.
	Configure
	// Enable puts the device into service.
	Enable
)

// StepsPerDevice is the number of calls for each device.
const StepsPerDevice = int(Enable)

// String returns the name of the step.
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

// Method returns the method of the adapter for the step.
func (s Step) Method() string { return "adapter." + s.String() }

// RegisterRequest registers an adapter with the core. It is sent as JSON.
type RegisterRequest struct {
	// Adapter is the name of the adapter.
	Adapter string `json:"adapter"`
	// Topic is the topic that the adapter serves.
	Topic string `json:"topic"`
}

// RegisterResponse is the answer to a RegisterRequest.
type RegisterResponse struct {
	// Core is the name of the core.
	Core string `json:"core"`
}

// AdoptRequest is the request of the step Adopt. It is sent as JSON.
type AdoptRequest struct {
	Device string `json:"device"`
	Serial string `json:"serial"`
	Ports  int    `json:"ports"`
}

// ConfigureRequest is the request of the step Configure. It is sent as JSON.
type ConfigureRequest struct {
	Device  string `json:"device"`
	VLAN    int    `json:"vlan"`
	Profile string `json:"profile"`
}

// Answer is the answer to every step. It is sent as JSON.
type Answer struct {
	Device string `json:"device"`
	// State is the step that was done.
	State string `json:"state"`
	// Receipt proves that the adapter has read the request.
	Receipt string `json:"receipt"`
}

// AdoptOf returns the expected request to adopt a device.
func AdoptOf(device string) AdoptRequest {
	sum := sum(device, "serial")
	return AdoptRequest{Device: device, Serial: hex.EncodeToString(sum[:6]), Ports: 1 + int(sum[6])%64}
}

// ConfigureOf returns the expected request to configure a device.
func ConfigureOf(device string) ConfigureRequest {
	sum := sum(device, "settings")
	return ConfigureRequest{Device: device, VLAN: 1 + (int(sum[0])<<8|int(sum[1]))%4094, Profile: "line-" + hex.EncodeToString(sum[2:6])}
}

// EnableOf returns the expected request to enable a device. It is sent as protobuf.
func EnableOf(device string) *wrapperspb.StringValue { return wrapperspb.String(device) }

// RequestOf returns the expected request of a step, an argument for rpc.Call.
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

// AnswerOf returns the expected answer to a step.
func AnswerOf(step Step, device string) Answer {
	sum := sum(device, step.String())
	return Answer{Device: device, State: step.String(), Receipt: hex.EncodeToString(sum[:8])}
}

// isExpected reports whether got is the expected request of the step.
func isExpected(step Step, device string, got any) bool {
	want := RequestOf(step, device)
	if m, ok := want.(proto.Message); ok {
		g, ok := got.(proto.Message)
		return ok && proto.Equal(m, g)
	}
	return got == want
}

func sum(device, what string) [sha256.Size]byte { return sha256.Sum256([]byte(what + "\x00" + device)) }
