// Package transporttest proves that a transport does what package bus promises on
// it. Whoever writes a transport runs it from a test:
//
//	func TestConformance(t *testing.T) { // not parallel: see Run
//		transporttest.Run(t, transporttest.Harness{
//			New: func(t *testing.T) transporttest.Connect {
//				broker := startBroker(t) // or a fresh namespace of a running one
//				return func(t *testing.T) driver.Transport {
//					tr, err := mybroker.New(broker.Addr())
//					require.NoError(t, err)
//					return tr
//				}
//			},
//		})
//	}
//
// That is all a harness needs. Its other fields say what the suite can do to the
// transport: crash it, take its broker away, add partitions. Each widens what is
// tested; without it the scenarios that need it are skipped, and say so.
//
// # What is looked at
//
// The scenarios go through package bus, which is how transports are used, and look
// where watermill's universal suite does not: order under concurrency, redelivery and
// rebalances; both bounds of the window; the acknowledged prefix; Nack and its
// back-off; closing at awkward moments; start positions; outcomes that are not known;
// outages; records that can't be decoded; error codes; memory, goroutines, leaks.
//
// Each looks at the transport's capabilities. One that needs what is missing is
// skipped and says so, after it has checked that asking for it is answered with code
// Unsupported: a transport may lack something, it may not pretend.
//
// [RunPrograms] runs random programs against a naive model of a log, and
// [RunWatermill] watermill's own suite, both over the same harness.
//
// # Running a part of it
//
// Scenarios are subtests: go test -run 'TestConformance/OrderByKey'. A transport that
// can be configured in several ways has a harness for each, with Harness.Only naming
// what depends on it; [Rebalances] are those that depend on how a group shares
// partitions.
//
// # Time
//
// Nothing here depends on how fast a machine is: a scenario waits for what is to
// happen, up to Harness.Patience. Where something is not to happen it waits for
// something else that could only come after it.
package transporttest
