package trunkline

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/peterbourgon/ff/v3"
)

// DefaultEnvPrefix is the prefix of the environment variables that LoadConfig reads, unless
// the program sets its own prefix with [EnvPrefix]. For example, the variable of the flag
// -live-interval is TRUNKLINE_LIVE_INTERVAL.
const DefaultEnvPrefix = "TRUNKLINE"

// A LoadOption changes how [LoadConfig] works.
type LoadOption func(*loadOptions)

type loadOptions struct {
	prefix string
	logger *slog.Logger
}

// EnvPrefix sets the prefix of the environment variables that LoadConfig reads. With the
// prefix "CORE", the variable of the flag -bus is CORE_BUS. The prefix consists of letters, digits and
// '_', and begins with a letter. The default is DefaultEnvPrefix.
func EnvPrefix(prefix string) LoadOption { return func(o *loadOptions) { o.prefix = prefix } }

// LoadLogger sets the logger for the warnings of LoadConfig. The default is
// slog.Default.
func LoadLogger(l *slog.Logger) LoadOption { return func(o *loadOptions) { o.logger = l } }

// LoadConfig returns the configuration of a program. It registers the flags of Config on
// fs. The default of each flag is its field in defaults. LoadConfig takes each value from the first of
// these sources that has it:
//
//  1. The command line, args.
//  2. The environment. The name of a variable is the prefix and the name of the flag, in
//     capitals and with '_' for '-': TRUNKLINE_LIVE_INTERVAL.
//  3. The file that the flag -config names. Each line has the name of a flag and its value.
//
// LoadConfig also reads the flags that the program itself has registered on fs from these
// sources. It reads the Kafka password from the environment only.
//
// The returned Config is valid. For -help the error is flag.ErrHelp.
//
// LoadConfig logs a warning for each environment variable that has the prefix and
// belongs to no flag, because its name is probably misspelled. It does not warn about
// the variables that Kubernetes sets for a service with the name of the prefix.
func LoadConfig(fs *flag.FlagSet, args []string, defaults Config, opts ...LoadOption) (Config, error) {
	o := loadOptions{prefix: DefaultEnvPrefix, logger: slog.Default()}
	for _, opt := range opts {
		opt(&o)
	}
	if !validPrefix(o.prefix) {
		return Config{}, fmt.Errorf("trunkline: configuration: EnvPrefix(%q): a prefix consists of letters, digits and '_', and begins with a letter", o.prefix)
	}
	o.prefix = strings.ToUpper(o.prefix)
	if o.logger == nil {
		return Config{}, errors.New("trunkline: configuration: LoadLogger: the logger must not be nil")
	}
	c := defaults
	c.registerFlags(fs, o.prefix)
	fs.String("config", "", "`file` with the name and value of a flag on each line; command line and environment override it")
	err := ff.Parse(fs, args, ff.WithEnvVarPrefix(o.prefix), ff.WithConfigFileFlag("config"), ff.WithConfigFileParser(ff.PlainParser))
	if err != nil {
		return Config{}, fmt.Errorf("trunkline: configuration: %w", err)
	}
	if password := os.Getenv(passwordEnv(o.prefix)); password != "" {
		c.Kafka.Password = NewSecret(password)
	}
	warnOfUnknownVariables(fs, o)
	return c, c.validate(o.prefix)
}

func validPrefix(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '_' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != ""
}

// envName returns the name of the environment variable from which package ff reads a flag.
func envName(prefix, flagName string) string {
	return prefix + "_" + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_", "/", "_").Replace(flagName))
}

// warnOfUnknownVariables logs the names of the variables that have the prefix and belong to
// no flag. It does not log their values, which may be secrets.
func warnOfUnknownVariables(fs *flag.FlagSet, o loadOptions) {
	known := map[string]bool{passwordEnv(o.prefix): true}
	fs.VisitAll(func(f *flag.Flag) { known[envName(o.prefix, f.Name)] = true })
	prefix := o.prefix + "_"
	unknown := map[string]bool{}
	for _, entry := range os.Environ() {
		name, _, _ := strings.Cut(entry, "=")
		rest, ok := strings.CutPrefix(name, prefix)
		if ok && !known[name] && !isKubernetesVariable(rest) {
			unknown[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		attrs := []any{"variable", name}
		if similar := mostSimilar(name, slices.Sorted(maps.Keys(known))); similar != "" {
			attrs = append(attrs, "did_you_mean", similar)
		}
		o.logger.Warn("environment variable ignored: this program has no such setting", attrs...)
	}
}

// isKubernetesVariable reports whether a name without the prefix is one that Kubernetes sets
// in each pod for a service: TRUNKLINE_SERVICE_HOST, TRUNKLINE_PORT_8080_TCP_ADDR.
func isKubernetesVariable(name string) bool {
	if name == "SERVICE_HOST" || name == "SERVICE_PORT" || name == "PORT" || strings.HasPrefix(name, "SERVICE_PORT_") {
		return true
	}
	rest, ok := strings.CutPrefix(name, "PORT_")
	port, rest, found := strings.Cut(rest, "_")
	if _, err := strconv.ParseUint(port, 10, 16); !ok || !found || err != nil {
		return false
	}
	protocol, field, _ := strings.Cut(rest, "_")
	return slices.Contains([]string{"TCP", "UDP", "SCTP"}, protocol) && slices.Contains([]string{"", "PROTO", "PORT", "ADDR"}, field)
}

// mostSimilar returns the name that differs from wrong in the fewest characters, or ""
// if each differs in more than three.
func mostSimilar(wrong string, names []string) string {
	best, limit := "", 3
	for _, name := range names {
		if d := editDistance(wrong, name); d <= limit {
			best, limit = name, d-1
		}
	}
	return best
}

// editDistance returns how many characters must be inserted, deleted or replaced to turn
// a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
