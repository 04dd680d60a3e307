package demo

import (
	"fmt"
	"time"

	"github.com/trunkline/trunkline/examples/devices"
)

// report checks the run and summarizes it. failure is the reason why the run ended early.
// ended is the error of the shutdown. Both may be nil.
func (r *run) report(elapsed time.Duration, failure, ended error) *Report {
	caps := r.coreProgram.app.Bus.Capabilities()
	progress := r.core.Progress()
	r.watch.mu.Lock()
	defer r.watch.mu.Unlock()
	http, grpc := &r.watch.overHTTP, &r.watch.overGRPC
	rep := &Report{Problems: []string{}, Transport: caps.Name, Cannot: append([]string{}, cannot(caps)...), Devices: progress.Wanted,
		Enabled: progress.Enabled, Elapsed: Millis(elapsed)}
	problem := func(format string, args ...any) { rep.Problems = append(rep.Problems, fmt.Sprintf(format, args...)) }
	if failure != nil {
		problem("%v", failure)
	}

	var cut span
	switch {
	case r.net.cut == nil:
		rep.NoCut = r.net.noCut
	case r.cutAt == 0:
		rep.NoCut = "-cut is 0"
	case r.cutTime.IsZero():
		rep.NoCut = "the run ended before the cut"
	default:
		rep.Cut, cut = r.cutReport(problem)
	}
	rep.Calls = tally(r.calls.ended(), cut)
	if r.adapter != nil {
		rep.Adapter = r.adapter.Ledger().Summary()
	}
	rep.Observations = Observations{HTTP: http.count, GRPC: grpc.count, Misreports: r.watch.misreportCount,
		Flaps: max(http.losses(cut), grpc.losses(cut))}

	r.checkCalls(rep, progress, problem)
	for _, m := range r.watch.misreports {
		problem("misreported: %s", m)
	}
	if n := rep.Observations.Flaps; n > 0 {
		problem("the core was not ready %d times although the transport was not cut", n)
	}
	if ended != nil {
		problem("%v", ended)
	}
	rep.OK = len(rep.Problems) == 0
	return rep
}

// cutReport checks and summarizes readiness. It also returns the interval from the cut until
// the core was ready again.
func (r *run) cutReport(problem func(string, ...any)) (*CutReport, span) {
	http, grpc := &r.watch.overHTTP, &r.watch.overGRPC
	c := &CutReport{AfterCalls: r.cutAt, Lasted: Millis(r.restoreTime.Sub(r.cutTime)), GRPCRefusals: grpc.refused}
	c.NotReady, c.WhyNotReady = http.firstAfter(r.cutTime, false)
	c.Unavailable, _ = grpc.firstAfter(r.cutTime, false)
	c.ReadyAgain, _ = http.firstAfter(r.restoreTime, true)
	c.GRPCOKAgain, _ = grpc.firstAfter(r.restoreTime, true)
	if c.NotReady == never || c.NotReady > c.Lasted {
		problem("misreported: /readyz did not report not ready while the transport was cut")
	}
	if c.Unavailable == never || c.Unavailable > c.Lasted {
		problem("misreported: gRPC did not answer UNAVAILABLE while the transport was cut")
	}
	if c.ReadyAgain == never || c.GRPCOKAgain == never {
		problem("the core did not become ready again after the transport was restored")
	}
	to := time.Now()
	if c.ReadyAgain != never && c.GRPCOKAgain != never {
		to = r.restoreTime.Add(time.Duration(max(c.ReadyAgain, c.GRPCOKAgain)))
	}
	return c, span{from: r.cutTime, to: to}
}

func (r *run) checkCalls(rep *Report, p devices.Progress, problem func(string, ...any)) {
	steps := rep.Devices * devices.StepsPerDevice
	if rep.Enabled != rep.Devices {
		problem("lost: only %d of %d devices are enabled", rep.Enabled, rep.Devices)
	}
	if rep.Calls.OK != steps {
		problem("lost: %d calls succeeded, expected %d", rep.Calls.OK, steps)
	}
	if p.Pending != 0 {
		problem("lost: %d calls have no outcome", p.Pending)
	}
	if begun := r.coreProgram.app.Client.Stats().Calls; begun != uint64(rep.Calls.Total) {
		problem("lost: %d calls were started and %d ended", begun, rep.Calls.Total)
	}
	if rep.Calls.Repeated != rep.Calls.Failed {
		problem("lost: %d calls failed and %d were repeated", rep.Calls.Failed, rep.Calls.Repeated)
	}
	if rep.Adapter.Enabled != rep.Devices || rep.Adapter.Steps != steps {
		problem("lost: the adapter did %d steps and enabled %d devices, expected %d and %d", rep.Adapter.Steps, rep.Adapter.Enabled, steps, rep.Devices)
	}
	for _, v := range rep.Adapter.Violations {
		problem("out of order: %s", v)
	}
}
