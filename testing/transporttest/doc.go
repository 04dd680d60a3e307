// Package transporttest is the conformance suite for transports. It checks that package bus gives
// its guarantees on a transport. Run it from a test of the transport:
//
//	func TestConformance(t *testing.T) { // not parallel: see Run
//		transporttest.Run(t, transporttest.Harness{
//			New: func(t *testing.T) transporttest.Connect {
//				broker := startBroker(t) // or a new namespace on a running broker
//				return func(t *testing.T) driver.Transport {
//					tr, err := mybroker.New(broker.Addr())
//					require.NoError(t, err)
//					return tr
//				}
//			},
//		})
//	}
//
// No other field of [Harness] is required. Other fields are functions that crash the
// transport, disconnect it, or add partitions. The scenarios that need such a field are
// skipped without it, and report the reason.
//
// # What it checks
//
// The scenarios use the transport through package bus. They cover what watermill's universal
// suite does not: order under concurrency, redelivery and rebalances; both bounds of the window;
// the acknowledged prefix; Nack and its back-off; closing while handlers run or publishers wait;
// start positions; unknown outcomes; outages; undecodable records; error codes; memory,
// goroutines and leaks.
//
// A transport may lack a capability, but then must not report it. The suite skips the
// scenarios that need the capability. Before that, it checks that package bus returns
// Unsupported for the calls that need it.
//
// [RunPrograms] runs random programs and compares the deliveries with a simple model of a
// log. [RunWatermill] runs watermill's own suite. Both use the same harness.
//
// # Running a part of it
//
// Each scenario is a subtest: go test -run 'TestConformance/OrderByKeyHolds'. If a transport
// can be configured in several ways, use a harness for each configuration, and name the
// scenarios that depend on the configuration in Harness.Only. [Rebalances] returns the
// scenarios that depend on how a group assigns partitions.
//
// # Time
//
// The result does not depend on the speed of the machine. A scenario waits until an expected
// event happens, for at most Harness.Timeout. To check that an event does not happen, it
// waits for another event that can happen only afterwards. A scenario that fails does not
// hang: each of its waits is bounded, and it stops at the first that times out.
package transporttest
