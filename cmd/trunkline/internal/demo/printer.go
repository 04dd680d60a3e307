package demo

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Printer prints events, each line with the time since the start. On a terminal it redraws
// the progress line in place; otherwise it prints the line once per second. All methods are
// safe for concurrent use.
type Printer struct {
	began time.Time
	w     io.Writer
	tty   bool

	mu   sync.Mutex
	line string    // the progress line on the screen, or ""
	last time.Time // when the progress was last printed, without a terminal
}

// NewPrinter returns a Printer that writes to w. Its time starts now.
func NewPrinter(w io.Writer) *Printer {
	p := &Printer{began: time.Now(), w: w}
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		p.tty = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return p
}

// Text writes a line without the time.
func (p *Printer) Text(format string, args ...any) { p.print(fmt.Sprintf(format, args...)) }

// Event writes a line with the time.
func (p *Printer) Event(format string, args ...any) {
	p.print(p.stamp() + fmt.Sprintf(format, args...))
}

func (p *Printer) stamp() string { return fmt.Sprintf("%8.3fs  ", time.Since(p.began).Seconds()) }

func (p *Printer) print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	fmt.Fprintln(p.w, text)
	if p.tty && p.line != "" {
		fmt.Fprint(p.w, p.line)
	}
}

// Progress shows the progress line.
func (p *Printer) Progress(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tty {
		p.erase()
		p.line = p.stamp() + text
		fmt.Fprint(p.w, p.line)
		return
	}
	if now := time.Now(); now.Sub(p.last) >= time.Second {
		p.last = now
		fmt.Fprintln(p.w, p.stamp()+text)
	}
}

// EndProgress writes the final text of the progress line.
func (p *Printer) EndProgress(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
	p.line = ""
	fmt.Fprintln(p.w, p.stamp()+text)
}

func (p *Printer) erase() {
	if p.tty && p.line != "" {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
