package devices

import (
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/trunkline/trunkline"
)

// ErrUsage is what LoadConfig fails with when the command line is wrong.
var ErrUsage = errors.New("see -help")

// LoadConfig loads a program's configuration; see trunkline.LoadConfig. For -help it
// writes about and the flags to stdout and returns flag.ErrHelp; every other error
// wraps ErrUsage.
func LoadConfig(fs *flag.FlagSet, args []string, defaults trunkline.Config, about string, stdout io.Writer) (trunkline.Config, error) {
	fs.SetOutput(io.Discard) // an error is one line, not all the flags
	cfg, err := trunkline.LoadConfig(fs, args, defaults)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(stdout)
		fmt.Fprintf(stdout, "%s\n\nflags, and TRUNKLINE_ with the flag's name in the environment:\n", about)
		fs.PrintDefaults()
		return cfg, flag.ErrHelp
	case err != nil:
		return cfg, fmt.Errorf("%w: %w", err, ErrUsage)
	case fs.NArg() > 0:
		return cfg, fmt.Errorf("%q is not a flag: %w", fs.Arg(0), ErrUsage)
	}
	return cfg, nil
}
