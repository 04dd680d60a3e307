package main

import (
	"context"
	"fmt"
	"go/types"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// A count is the number of exported names of a package, by kind.
type count struct {
	types, functions, constants, variables int
	methods                                int // and fields, of the exported types
}

func (c count) names() int { return c.types + c.functions + c.constants + c.variables }

func (c *count) add(o count) {
	c.types += o.types
	c.functions += o.functions
	c.constants += o.constants
	c.variables += o.variables
	c.methods += o.methods
}

func countNames(p *types.Package) count {
	var c count
	for _, name := range p.Scope().Names() {
		object := p.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		switch object := object.(type) {
		case *types.TypeName:
			c.types++
			if !object.IsAlias() {
				c.methods += members(object.Type())
			}
		case *types.Func:
			c.functions++
		case *types.Const:
			c.constants++
		case *types.Var:
			c.variables++
		}
	}
	return c
}

// members returns how many exported methods and fields the declaration of a
// type has. Methods and fields that come from an embedded type do not count.
func members(t types.Type) int {
	n := 0
	if named, ok := t.(*types.Named); ok {
		for m := range named.Methods() {
			if m.Exported() {
				n++
			}
		}
	}
	switch u := t.Underlying().(type) {
	case *types.Interface:
		for m := range u.ExplicitMethods() {
			if m.Exported() {
				n++
			}
		}
	case *types.Struct:
		for f := range u.Fields() {
			if f.Exported() {
				n++
			}
		}
	}
	return n
}

func printNames(ctx context.Context, root, commit string, stdout io.Writer) error {
	public, err := loadAt(ctx, root, commit)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(c count, path string) {
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t%d\t  %s\n",
			c.names(), c.types, c.functions, c.constants, c.variables, c.methods, path)
	}
	fmt.Fprint(table, "names\ttypes\tfuncs\tconsts\tvars\tmembers\t  package\n")
	var all count
	for _, path := range slices.Sorted(maps.Keys(public)) {
		c := countNames(public[path])
		all.add(c)
		row(c, path)
	}
	row(all, "together")
	return table.Flush()
}
