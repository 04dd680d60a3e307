// Command protogen generates Go code from the .proto files of the repository. It
// does not need protoc: it compiles the files itself, and runs protoc-gen-go and
// protoc-gen-go-grpc at the versions that go.mod of this module pins.
//
//	go run -C tools ./protogen          # write the .pb.go files next to the .proto files
//	go run -C tools ./protogen -check   # write nothing; list the files that are out of date
//
// Imports are relative to the root of the repository. The files
// google/protobuf/*.proto and google/rpc/{status,code,error_details}.proto are
// built in.
//
// Exit status: 0 if the files are written, or up to date; 1 if something failed,
// or is out of date; 2 for wrong usage.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("protogen", flag.ContinueOnError)
	fs.SetOutput(stderr)
	root := fs.String("root", "..", "the root of the repository")
	check := fs.Bool("check", false, "compare and write nothing")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "protogen: unexpected argument %q\n", fs.Arg(0))
		return 2
	}
	want, err := generate(ctx, *root)
	if err == nil {
		if *check {
			err = compare(*root, want)
		} else {
			err = write(*root, want, stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "protogen:", err)
		return 1
	}
	return 0
}
