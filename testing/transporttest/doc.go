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
// Each scenario looks at the transport's capabilities. One that needs what is
// missing is skipped and says so, after it has checked that asking for it is
// answered with code Unsupported: a transport may lack something, it may not
// pretend.
//
// The scenarios go through package bus, which is how transports are used, and look
// where watermill's universal suite does not: order under redelivery, windows, the
// acknowledged prefix, closing at awkward moments, start positions, error codes,
// leaks. RunWatermill runs that suite as well, over the same harness.
//
// Nothing here depends on how fast a machine is: a scenario waits for what is to
// happen, up to Harness.Patience. Where something is not to happen it waits for
// something else that could only come after it.
package transporttest
