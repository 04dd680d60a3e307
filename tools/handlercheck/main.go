// Command handlercheck is a vet tool that finds tests which can hang instead of
// fail: a handler that ends its goroutine.
//
//	go vet -vettool="$(cd tools && go tool -n handlercheck)" ./...
//
// The functions of package require, and FailNow, Fatal, Fatalf, Skip, Skipf and
// SkipNow of package testing, end the goroutine that calls them. They are for the
// goroutine of the test. In a handler they end a goroutine of the library: it
// never returns a result, and the test waits until its timeout. A handler uses
// package assert, or returns an error, or sends its result to the test.
//
// The check regards a function literal as a handler if its first parameter is a
// context.Context and its last result is an error.
package main

import (
	"go/ast"
	"go/types"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
	"golang.org/x/tools/go/types/typeutil"
)

var analyzer = &analysis.Analyzer{
	Name: "handlercheck",
	Doc:  "report calls in handlers of tests that end the goroutine, such as require.NoError",
	URL:  "https://github.com/trunkline/trunkline/tree/main/tools/handlercheck",
	Run:  check,
}

func main() { unitchecker.Main(analyzer) }

func check(pass *analysis.Pass) (any, error) {
	for _, file := range pass.Files {
		ast.Inspect(file, func(n ast.Node) bool {
			literal, ok := n.(*ast.FuncLit)
			if !ok || !isHandler(pass.TypesInfo.TypeOf(literal)) {
				return true
			}
			ast.Inspect(literal.Body, func(n ast.Node) bool {
				if inner, ok := n.(*ast.FuncLit); ok && isHandler(pass.TypesInfo.TypeOf(inner)) {
					return false // the outer walk visits the nested literal
				}
				if call, ok := n.(*ast.CallExpr); ok {
					if name := endsGoroutine(pass.TypesInfo, call); name != "" {
						pass.Reportf(call.Pos(), "%s in a handler ends a goroutine of the library, and the test may hang: use assert or return an error", name)
					}
				}
				return true
			})
			return true
		})
	}
	return nil, nil
}

func isHandler(t types.Type) bool {
	signature, ok := t.(*types.Signature)
	if !ok || signature.Params().Len() == 0 || signature.Results().Len() == 0 {
		return false
	}
	first := signature.Params().At(0).Type()
	last := signature.Results().At(signature.Results().Len() - 1).Type()
	return isNamed(first, "context", "Context") && types.Identical(last, types.Universe.Lookup("error").Type())
}

func isNamed(t types.Type, path, name string) bool {
	named, ok := types.Unalias(t).(*types.Named)
	return ok && named.Obj().Name() == name && named.Obj().Pkg() != nil && named.Obj().Pkg().Path() == path
}

// endsGoroutine returns the name of the called function if it ends the goroutine
// of its caller, or "".
func endsGoroutine(info *types.Info, call *ast.CallExpr) string {
	f := typeutil.StaticCallee(info, call)
	if f == nil {
		// A method of an interface, such as testing.TB.
		if f, _ = typeutil.Callee(info, call).(*types.Func); f == nil {
			return ""
		}
	}
	if f.Pkg() == nil {
		return ""
	}
	switch f.Pkg().Path() {
	case "github.com/stretchr/testify/require":
		if f.Name() != "New" {
			return "require." + f.Name()
		}
	case "testing":
		switch f.Name() {
		case "FailNow", "Fatal", "Fatalf", "Skip", "Skipf", "SkipNow":
			return f.Name()
		}
	}
	return ""
}
