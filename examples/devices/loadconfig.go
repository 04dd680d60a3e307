package devices

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/trunkline/trunkline"
)

// ErrUsage is the error of LoadConfig for a wrong command line.
var ErrUsage = errors.New("see -help")

// LoadConfig loads the configuration of a program; see trunkline.LoadConfig. For -help it
// writes about and the flags to stdout and returns flag.ErrHelp. Every other error wraps
// ErrUsage.
func LoadConfig(fs *flag.FlagSet, args []string, defaults trunkline.Config, about string, stdout io.Writer) (trunkline.Config, error) {
	fs.SetOutput(io.Discard) // so that an error is one line, without all the flags
	cfg, err := trunkline.LoadConfig(fs, args, defaults)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stdout)
		fmt.Fprintf(stdout, "%s\n\nflags (in the environment TRUNKLINE_ and the name of the flag, such as TRUNKLINE_LIVE_INTERVAL):\n", about)
		fs.PrintDefaults()
		return cfg, flag.ErrHelp
	case err != nil:
		return cfg, fmt.Errorf("%w: %w", err, ErrUsage)
	case fs.NArg() > 0:
		return cfg, fmt.Errorf("unexpected argument %q: this program takes only flags: %w", fs.Arg(0), ErrUsage)
	}
	return cfg, nil
}
