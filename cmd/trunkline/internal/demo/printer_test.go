package demo

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPrinterPrintsProgressOncePerSecondToAFile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewPrinter(&b)
		for range 15 {
			p.Progress("going on")
			time.Sleep(100 * time.Millisecond)
		}
		p.Event("CUT")
		p.EndProgress("done")
		p.Text("end")
		require.Equal(t, "   0.000s  going on\n   1.000s  going on\n   1.500s  CUT\n   1.500s  done\nend\n", b.String())
	})
}

func TestPrinterRedrawsProgressOnATerminal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := NewPrinter(&b)
		p.tty = true
		p.Progress("1")
		p.Event("CUT")
		p.Progress("2")
		p.EndProgress("3")
		p.Event("end")
		const at, erase = "   0.000s  ", "\r\x1b[K"
		require.Equal(t, at+"1"+erase+at+"CUT\n"+at+"1"+erase+at+"2"+erase+at+"3\n"+at+"end\n", b.String())
	})
}
