package main

import (
	"flag"
	"strings"

	"github.com/peterbourgon/ff/v3/ffcli"
)

// flagsFirst returns the arguments of c with its flags before its other arguments,
// because package flag does not read flags that come later. The arguments after the name of
// a subcommand belong to the subcommand. All arguments after "--" stay as they are.
func flagsFirst(c *ffcli.Command, args []string) []string {
	var flags, others []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return append(append(append(flags, "--"), others...), args[i+1:]...)
		case isFlag(arg):
			flags = append(flags, arg)
			if takesValue(c.FlagSet, arg) && i+1 < len(args) {
				i++
				flags = append(flags, args[i])
			}
		case len(others) == 0 && subcommand(c, arg) != nil:
			return append(append(flags, arg), flagsFirst(subcommand(c, arg), args[i+1:])...)
		default:
			others = append(others, arg)
		}
	}
	return append(flags, others...)
}

// isFlag reports whether an argument is a flag. A lone "-", a negative number and JSON are
// not flags.
func isFlag(arg string) bool {
	name := strings.TrimLeft(arg, "-")
	return strings.HasPrefix(arg, "-") && name != "" && !strings.ContainsAny(name[:1], "0123456789.")
}

// takesValue reports whether the value of a flag is the next argument. An unknown flag
// takes none: parsing fails on it anyway.
func takesValue(fs *flag.FlagSet, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if strings.Contains(name, "=") {
		return false
	}
	f := fs.Lookup(name)
	if f == nil {
		return false
	}
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return !ok || !b.IsBoolFlag()
}

func subcommand(c *ffcli.Command, name string) *ffcli.Command {
	for _, sub := range c.Subcommands {
		if sub.Name == name {
			return sub
		}
	}
	return nil
}

// noArguments returns a usage error if a command that takes only flags has arguments.
func noArguments(args []string) error {
	if len(args) > 0 {
		return usageError("unexpected argument %q: this command takes only flags", args[0])
	}
	return nil
}

// unknownCommand returns the error for a command line without a known subcommand of c.
func unknownCommand(c *ffcli.Command, args []string) error {
	names := make([]string, len(c.Subcommands))
	for i, sub := range c.Subcommands {
		names[i] = sub.Name
	}
	list := strings.Join(names, ", ")
	if len(args) == 0 {
		return usageError("%s needs a command: %s", c.Name, list)
	}
	return usageError("unknown command %q: the commands are %s", strings.TrimSpace(c.Name+" "+args[0]), list)
}
