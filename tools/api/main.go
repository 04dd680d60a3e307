// Command api counts the exported names of the repository's packages, and
// prints how they changed since an earlier commit.
//
//	go run -C tools ./api names            # exported names of each package
//	go run -C tools ./api names v0.3.0     # the same at a commit, a tag or a branch
//	go run -C tools ./api diff             # changes since the last tag
//	go run -C tools ./api diff 682cfdc     # changes since a commit
//
// Both commands leave out internal packages, commands and examples. Nested
// modules are not part of the count. diff compares a commit with the working
// tree, including changes that are not committed.
//
// diff marks a change as incompatible if it can break the code of a user. It
// reports changes and does not judge them: before version 1 an incompatible
// change is allowed.
//
// Exit status: 0 printed; 1 failed; 2 wrong usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
)

const usage = `usage:
  api [-root folder] names [commit]   count the exported names of each package
  api [-root folder] diff [commit]    print the changes since the commit (default: the last tag)
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("api", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	dir := flags.String("root", "..", "the root of the repository")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() < 1 || flags.NArg() > 2 {
		flags.Usage()
		return 2
	}
	root, err := filepath.Abs(*dir)
	if err != nil {
		fmt.Fprintln(stderr, "api:", err)
		return 1
	}
	switch command, commit := flags.Arg(0), flags.Arg(1); command {
	case "names":
		err = printNames(ctx, root, commit, stdout)
	case "diff":
		err = printDiff(ctx, root, commit, stdout)
	default:
		fmt.Fprintf(stderr, "api: unknown command %q\n", command)
		flags.Usage()
		return 2
	}
	if err != nil {
		fmt.Fprintln(stderr, "api:", err)
		return 1
	}
	return 0
}
