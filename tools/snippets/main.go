// Command snippets checks the code in the documentation. It compiles the Go blocks
// of Markdown files and runs the shell blocks that are marked.
//
//	go run -C tools ./snippets                 # *.md and docs/**/*.md of the repository
//	go run -C tools ./snippets README.md       # one file, by its path from the root
//
// The command compiles every block with the language go. A block is one of
//
//   - a file: it begins with a package clause;
//   - declarations: functions, types, variables, imports;
//   - statements: they become the body of a function. They may return an error,
//     and may declare variables that nothing uses.
//
// An HTML comment before a block contains code that the reader of the block need not
// see. Markdown does not show the comment:
//
//	<!-- snippet
//	import "context"
//	var ctx context.Context
//	-->
//
// The comment <!-- snippet skip: reason --> excludes the block after it.
//
// If the comment <!-- run: output --> is before a block with a Go program, the command
// also runs the program, which must print the output.
//
// If the comment <!-- run --> is before a block with the language sh or console,
// the command runs the block from the root of the repository. The block must
// succeed within five minutes. In a console block the commands are the lines that
// begin with "$ ".
//
// Exit status: 0 if everything works; 1 if something fails; 2 for wrong usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("snippets", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("root", "..", "the root of the repository")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	root, err := filepath.Abs(*dir)
	if err != nil {
		fmt.Fprintln(stderr, "snippets:", err)
		return 1
	}
	files := flags.Args()
	if len(files) == 0 {
		if files, err = documents(root); err != nil {
			fmt.Fprintln(stderr, "snippets:", err)
			return 1
		}
	}
	if err := check(ctx, root, files, stdout); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// documents returns the Markdown files at the root and under docs.
func documents(root string) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return fs.SkipAll
		}
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".md") {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no Markdown file in %s or its docs folder", root)
	}
	for i, path := range found {
		if found[i], err = filepath.Rel(root, path); err != nil {
			return nil, err
		}
	}
	slices.Sort(found)
	return found, nil
}

// check compiles and runs the blocks of the files.
func check(ctx context.Context, root string, files []string, stdout io.Writer) error {
	var sources []source
	var commands []block
	var failures []error
	programs := 0
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			failures = append(failures, err)
			continue
		}
		blocks, err := extract(file, string(text))
		if err != nil {
			failures = append(failures, err)
			continue
		}
		for _, b := range blocks {
			switch {
			case b.skip != "":
				fmt.Fprintf(stdout, "%s: not compiled: %s\n", b.place(), b.skip)
			case b.run && b.language != "go":
				commands = append(commands, b)
			case b.language == "go":
				s, err := complete(root, b)
				if err != nil {
					failures = append(failures, err)
					continue
				}
				sources = append(sources, s)
			}
		}
	}
	if err := compile(ctx, root, sources); err != nil {
		failures = append(failures, err)
	}
	if len(failures) == 0 {
		for _, s := range sources {
			if !s.block.run {
				continue
			}
			programs++
			fmt.Fprintf(stdout, "%s: running\n", s.block.place())
			if err := runProgram(ctx, root, s); err != nil {
				failures = append(failures, err)
			}
		}
	}
	for _, b := range commands {
		fmt.Fprintf(stdout, "%s: running\n", b.place())
		if err := execute(ctx, root, b); err != nil {
			failures = append(failures, err)
		}
	}
	fmt.Fprintf(stdout, "%d files: %d Go blocks to compile, %d programs and %d shell blocks to run\n", len(files), len(sources), programs, len(commands))
	return errors.Join(failures...)
}
