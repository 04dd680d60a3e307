package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/peterbourgon/ff/v3/ffcli"
)

// version is the output of `trunkline version -json`.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func versionCommand(stdout io.Writer) *ffcli.Command {
	fs := flag.NewFlagSet("trunkline version", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "print JSON")
	return &ffcli.Command{
		Name:       "version",
		ShortUsage: "trunkline version [-json]",
		ShortHelp:  "Print the version of this program.",
		LongHelp: `EXAMPLES
  trunkline version
  trunkline version -json

` + exitHelp,
		FlagSet: fs,
		Exec: func(_ context.Context, args []string) error {
			if err := noArguments(args); err != nil {
				return err
			}
			v := readVersion()
			if *asJSON {
				return writeJSON(stdout, v)
			}
			line := "trunkline " + v.Version
			if v.Revision != "" {
				line += " (" + v.Revision
				if v.Modified {
					line += ", modified"
				}
				line += ")"
			}
			_, err := fmt.Fprintf(stdout, "%s %s %s\n", line, v.Go, v.Platform)
			return err
		},
	}
}

func readVersion() version {
	v := version{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	return v
}
