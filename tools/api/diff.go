package main

import (
	"context"
	"fmt"
	"go/types"
	"io"
	"maps"
	"slices"

	"golang.org/x/exp/apidiff"
)

// printDiff prints what changed between a commit and the working tree. Without
// a commit it compares with the last tag.
func printDiff(ctx context.Context, root, commit string, stdout io.Writer) error {
	if commit == "" {
		tag, err := lastTag(ctx, root)
		if err != nil {
			return err
		}
		if tag == "" {
			fmt.Fprintln(stdout, "there is no version tag yet: name a commit to compare with")
			return nil
		}
		commit = tag
	}
	before, err := loadAt(ctx, root, commit)
	if err != nil {
		return err
	}
	now, err := load(ctx, root)
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "changes of the exported API since %s:\n", commit)
	incompatible, compatible := 0, 0
	for _, change := range compare(before, now) {
		fmt.Fprintln(stdout, "\n"+change.path)
		for _, text := range change.incompatible {
			fmt.Fprintln(stdout, "  incompatible:", text)
		}
		for _, text := range change.compatible {
			fmt.Fprintln(stdout, "  compatible:  ", text)
		}
		incompatible += len(change.incompatible)
		compatible += len(change.compatible)
	}
	fmt.Fprintf(stdout, "\n%d incompatible and %d compatible changes\n", incompatible, compatible)
	return nil
}

// A change is what is different in one package.
type change struct {
	path                     string
	incompatible, compatible []string
}

// compare returns the packages that changed, sorted by path.
func compare(before, now map[string]*types.Package) []change {
	paths := make(map[string]bool)
	for path := range before {
		paths[path] = true
	}
	for path := range now {
		paths[path] = true
	}
	var changes []change
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		c := change{path: path}
		switch {
		case now[path] == nil:
			c.incompatible = []string{"the package was removed"}
		case before[path] == nil:
			c.compatible = []string{"the package was added"}
		default:
			for _, found := range apidiff.Changes(before[path], now[path]).Changes {
				if found.Compatible {
					c.compatible = append(c.compatible, found.Message)
				} else {
					c.incompatible = append(c.incompatible, found.Message)
				}
			}
		}
		if len(c.incompatible)+len(c.compatible) > 0 {
			changes = append(changes, c)
		}
	}
	return changes
}
