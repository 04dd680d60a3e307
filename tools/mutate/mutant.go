package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// A mutant is one change of the code. It is made by text that is inserted into a
// file, and that has an effect only while the mutant is active.
type mutant struct {
	id      int
	at      token.Position
	what    string
	inserts []insert
	verdict verdict
}

func (m *mutant) place(root string) string {
	file := m.at.Filename
	if rel, err := filepath.Rel(root, file); err == nil {
		file = rel
	}
	return fmt.Sprintf("%s:%d:%d: %s", file, m.at.Line, m.at.Column, m.what)
}

// An insert is text that goes into a file before the byte at offset.
type insert struct {
	offset int
	text   string
	end    bool // it closes what another insert opened
}

type verdict string

const (
	untested  verdict = ""
	failed    verdict = "failed"
	timedOut  verdict = "timed out"
	survived  verdict = "survived"
	uncovered verdict = "no test"
)

// A source is a package to mutate.
type source struct {
	*packages.Package
	texts map[string][]byte // of its files
}

func load(ctx context.Context, root, pattern string) (*source, error) {
	loaded, err := packages.Load(&packages.Config{
		Context: ctx, Dir: root,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedTypes | packages.NeedTypesInfo | packages.NeedSyntax,
	}, pattern)
	if err != nil {
		return nil, err
	}
	if len(loaded) != 1 {
		return nil, fmt.Errorf("%d packages match, want one", len(loaded))
	}
	if len(loaded[0].Errors) > 0 {
		return nil, loaded[0].Errors[0]
	}
	if len(loaded[0].CompiledGoFiles) == 0 {
		return nil, fmt.Errorf("no Go files")
	}
	s := &source{loaded[0], make(map[string][]byte)}
	for _, file := range s.CompiledGoFiles {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		s.texts[file] = text
	}
	return s, nil
}

// mutants returns the mutants of the package, in the order of the text.
func (s *source) mutants() []*mutant {
	f := &finder{source: s}
	for _, file := range s.Syntax {
		if ast.IsGenerated(file) {
			continue
		}
		ast.PreorderStack(file, nil, func(n ast.Node, stack []ast.Node) bool {
			f.node(n, stack)
			_, isConst := n.(*ast.GenDecl)
			return !isConst || n.(*ast.GenDecl).Tok != token.CONST
		})
	}
	return f.found
}

type finder struct {
	*source
	found []*mutant
}

// The names of the functions that mutate adds to the mutated package; see helpers.
const (
	active = "mutantActive_"
	negate = "mutantNegate_"
	choose = "mutantChoose_"
)

func (f *finder) add(n ast.Node, what string, inserts ...insert) {
	m := &mutant{id: len(f.found) + 1, at: f.Fset.Position(n.Pos()), what: what, inserts: inserts}
	for i := range m.inserts {
		m.inserts[i].text = strings.ReplaceAll(m.inserts[i].text, "ID", fmt.Sprint(m.id))
	}
	f.found = append(f.found, m)
}

func (f *finder) before(p token.Pos, text string) insert {
	return insert{offset: f.Fset.Position(p).Offset, text: text}
}

func (f *finder) after(p token.Pos, text string) insert {
	return insert{offset: f.Fset.Position(p).Offset, text: text, end: true}
}

// around puts text before and after a node.
func (f *finder) around(n ast.Node, before, after string) []insert {
	return []insert{f.before(n.Pos(), before), f.after(n.End(), after)}
}

func (f *finder) node(n ast.Node, stack []ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		f.condition(n.Cond)
	case *ast.CaseClause:
		if s, ok := enclosing[*ast.SwitchStmt](stack); ok && s.Tag == nil {
			for _, e := range n.List {
				f.condition(e)
			}
		}
	case *ast.BinaryExpr:
		f.binary(n)
	case *ast.CallExpr:
		f.minMax(n)
	case *ast.ReturnStmt:
		f.returns(n, stack)
	case ast.Stmt:
		f.statement(n, stack)
	}
}

// condition negates a condition.
func (f *finder) condition(e ast.Expr) {
	f.add(e, "negate "+f.text(e), f.around(e, "((", ") != "+active+"(ID))")...)
}

func (f *finder) binary(n *ast.BinaryExpr) {
	switch n.Op {
	case token.LAND:
		for _, e := range []ast.Expr{n.X, n.Y} {
			f.add(e, "take for true: "+f.text(e), f.around(e, "((", ") || "+active+"(ID))")...)
		}
	case token.LOR:
		for _, e := range []ast.Expr{n.X, n.Y} {
			f.add(e, "take for false: "+f.text(e), f.around(e, "((", ") && !"+active+"(ID))")...)
		}
	case token.LSS, token.GTR, token.LEQ, token.GEQ:
		f.boundary(n)
	case token.ADD, token.SUB, token.MUL, token.QUO, token.REM:
		if f.isNumber(n) {
			f.add(n, "negate "+f.text(n), f.around(n, negate+"(ID, ", ")")...)
		}
	}
}

// boundary turns < into <=, and the like.
func (f *finder) boundary(n *ast.BinaryExpr) {
	x, ok := f.line(n.X)
	y, ok2 := f.line(n.Y)
	if !ok || !ok2 || strings.Contains(x+y, "<-") {
		return // the operands are evaluated twice
	}
	equal := fmt.Sprintf("%s(ID) && (%s) == (%s)", active, x, y)
	other, closing := n.Op.String()+"=", ") || "+equal+")"
	if n.Op == token.LEQ || n.Op == token.GEQ {
		other, closing = strings.TrimSuffix(n.Op.String(), "="), ") && !("+equal+"))"
	}
	f.add(n, fmt.Sprintf("%s becomes %s in %s", n.Op, other, f.text(n)), f.around(n, "((", closing)...)
}

// isNumber reports whether e has a numeric type and is not a constant.
func (f *finder) isNumber(e ast.Expr) bool {
	tv, ok := f.TypesInfo.Types[e]
	if !ok || tv.Value != nil {
		return false
	}
	basic, ok := tv.Type.Underlying().(*types.Basic)
	return ok && basic.Info()&types.IsNumeric != 0 && basic.Info()&(types.IsUntyped|types.IsComplex) == 0
}

// minMax exchanges the built-in functions min and max.
func (f *finder) minMax(n *ast.CallExpr) {
	name, ok := n.Fun.(*ast.Ident)
	if !ok || (name.Name != "min" && name.Name != "max") || !f.isNumber(n) {
		return
	}
	if _, ok := f.TypesInfo.Uses[name].(*types.Builtin); !ok {
		return
	}
	for _, arg := range n.Args {
		if !f.isPure(arg) {
			return // the arguments are evaluated twice
		}
	}
	code, ok := f.line(n)
	if !ok {
		return
	}
	other := map[string]string{"min": "max", "max": "min"}[name.Name]
	swapped := other + strings.TrimPrefix(code, name.Name)
	f.add(n, name.Name+" becomes "+other+" in "+f.text(n), f.around(n, choose+"(ID, ", ", "+swapped+")")...)
}

// isPure reports whether evaluating e changes nothing.
func (f *finder) isPure(e ast.Expr) bool {
	pure := true
	ast.Inspect(e, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if tv := f.TypesInfo.Types[n.Fun]; !tv.IsType() && !tv.IsBuiltin() {
				pure = false
			}
		case *ast.UnaryExpr:
			pure = pure && n.Op != token.ARROW
		case *ast.FuncLit:
			pure = false
		}
		return pure
	})
	return pure
}

// returns replaces an error by nil, and negates a bool.
func (f *finder) returns(n *ast.ReturnStmt, stack []ast.Node) {
	if !isInList(n, stack) || len(n.Results) == 0 {
		return
	}
	last := n.Results[len(n.Results)-1]
	results := f.results(stack)
	if results == nil || results.Len() != len(n.Results) {
		return // return f(), with several results
	}
	tv := f.TypesInfo.Types[last]
	switch want := results.At(results.Len() - 1).Type(); {
	case types.Identical(want, types.Universe.Lookup("error").Type()) && !tv.IsNil():
		var list []string
		for _, e := range n.Results[:len(n.Results)-1] {
			code, ok := f.line(e)
			if !ok {
				return
			}
			list = append(list, code)
		}
		instead := "if " + active + "(ID) { return " + strings.Join(append(list, "nil"), ", ") + " }; "
		f.add(n, "return nil for "+f.text(last), f.before(n.Pos(), instead))
	case types.Identical(want.Underlying(), types.Typ[types.Bool]):
		f.condition(last)
	}
}

// results returns the results of the function that a statement is in.
func (f *finder) results(stack []ast.Node) *types.Tuple {
	for _, n := range slices.Backward(stack) {
		switch n := n.(type) {
		case *ast.FuncLit:
			return f.TypesInfo.TypeOf(n).(*types.Signature).Results()
		case *ast.FuncDecl:
			return f.TypesInfo.Defs[n.Name].Type().(*types.Signature).Results()
		}
	}
	return nil
}

// statement leaves out a statement.
func (f *finder) statement(n ast.Stmt, stack []ast.Node) {
	if !isInList(n, stack) {
		return
	}
	switch n := n.(type) {
	case *ast.ExprStmt:
		if call, ok := n.X.(*ast.CallExpr); !ok || f.isExempt(call) {
			return
		}
	case *ast.DeferStmt:
		if f.isExempt(n.Call) {
			return
		}
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE || isBlank(n.Lhs) {
			return
		}
	case *ast.IncDecStmt, *ast.SendStmt:
	default:
		return
	}
	f.add(n, "leave out "+f.text(n), f.around(n, "if !"+active+"(ID) { ", " }")...)
}

func isBlank(list []ast.Expr) bool {
	for _, e := range list {
		if id, ok := e.(*ast.Ident); !ok || id.Name != "_" {
			return false
		}
	}
	return true
}

// isExempt reports whether a call locks or unlocks a mutex, writes a log line, or panics.
// Tests without the race detector do not detect a missing lock.
func (f *finder) isExempt(call *ast.CallExpr) bool {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		name, ok := call.Fun.(*ast.Ident)
		return ok && name.Name == "panic" // the compiler may need it
	}
	callee, ok := f.TypesInfo.Uses[selector.Sel].(*types.Func)
	if !ok || callee.Pkg() == nil {
		return false
	}
	switch callee.Pkg().Path() {
	case "log/slog", "log":
		return true
	case "sync":
		return strings.HasSuffix(callee.Name(), "Lock")
	}
	return false
}

// isInList reports whether a statement is one of a list, so that another can stand
// before it or around it. The stack has the nodes that it is in.
func isInList(n ast.Stmt, stack []ast.Node) bool {
	switch parent := stack[len(stack)-1].(type) {
	case *ast.BlockStmt, *ast.CaseClause:
		return true
	case *ast.CommClause:
		return parent.Comm != n
	}
	return false
}

func enclosing[N ast.Node](stack []ast.Node) (N, bool) {
	var none N
	if len(stack) < 2 {
		return none, false
	}
	n, ok := stack[len(stack)-2].(N) // between them is the block
	return n, ok
}

// text returns the source of a node on one line, shortened, for the report.
func (f *finder) text(n ast.Node) string {
	text := strings.Join(strings.Fields(f.code(n)), " ")
	if runes := []rune(text); len(runes) > 70 {
		text = string(runes[:67]) + "..."
	}
	return text
}

// code returns the source of a node.
func (f *finder) code(n ast.Node) string {
	from, to := f.Fset.Position(n.Pos()), f.Fset.Position(n.End())
	return string(f.texts[from.Filename][from.Offset:to.Offset])
}

// line returns the source of a node, so that a mutant can repeat it. It returns false
// if the source has more than one line.
func (f *finder) line(n ast.Node) (string, bool) {
	code := f.code(n)
	return code, !strings.Contains(code, "\n")
}
