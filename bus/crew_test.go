package bus

import (
	"testing"
	"testing/synctest"
)

// The end comes while a record is about to leave, and it stays: those who have nothing to
// do go all the same.
func TestACrewEndsThoughARecordStays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var first, second entry
		idle, stays := make(chan struct{}), make(chan struct{})
		c := &crew{limit: 2}
		c.handle = func(e *entry) {
			if e == &first {
				<-idle
				return
			}
			c.leave()
			<-stays
			c.stay()
		}
		c.add(&first)
		synctest.Wait()
		c.add(&second)
		synctest.Wait()
		close(idle)
		synctest.Wait()
		ended := make(chan struct{})
		go func() { c.end(); close(ended) }()
		synctest.Wait()
		close(stays)
		<-ended
	})
}
