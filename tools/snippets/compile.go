package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A source is a block and the Go file made from it.
type source struct {
	block block
	text  string
}

// complete makes a Go file from a block. Line directives in the file make the
// compiler report the lines of the Markdown file.
func complete(root string, b block) (source, error) {
	at := func(line int) string { return fmt.Sprintf("//line %s:%d:1\n", filepath.Join(root, b.file), line) }
	parses := func(text string) (*ast.File, error) {
		return parser.ParseFile(token.NewFileSet(), "", text, parser.SkipObjectResolution)
	}

	if f, err := parser.ParseFile(token.NewFileSet(), "", b.code, parser.PackageClauseOnly); err == nil && f.Name != nil {
		if strings.TrimSpace(b.prelude) != "" {
			return source{}, fmt.Errorf("%s:%d: a snippet with a package clause must be a whole file, without a hidden part", b.file, b.preludeLine)
		}
		return source{b, at(b.line) + b.code + "\n"}, nil
	}

	head := "package snippet\n"
	if b.prelude != "" {
		if _, err := parses(head + b.prelude); err != nil {
			return source{}, fmt.Errorf("%s:%d: the hidden part of a snippet must be whole declarations: %w", b.file, b.preludeLine, err)
		}
		head += at(b.preludeLine) + b.prelude + "\n"
	}
	declarations := head + at(b.line) + b.code + "\n"
	_, notDeclarations := parses(declarations)
	if notDeclarations == nil {
		return source{b, declarations}, nil
	}

	f, err := parses("package snippet\nfunc _() {\n" + b.code + "\n}")
	if err != nil {
		// The block is neither. Compile it as statements, so that the compiler
		// reports its errors.
		return source{b, head + "func _() {\n" + at(b.line) + b.code + "\n}\n"}, nil
	}
	body := f.Decls[0].(*ast.FuncDecl).Body
	signature, ending := "func _() {\n", ""
	for _, name := range declared(body) {
		ending += "_ = " + name + "\n"
	}
	switch results := returned(body); results {
	case 0:
	case 1:
		signature = "func _() error {\n"
		ending += "return nil\n"
	default:
		return source{}, fmt.Errorf("%s: statements may return one error, not %d values: make the snippet a function", b.place(), results)
	}
	return source{b, head + signature + at(b.line) + b.code + "\n" + ending + "}\n"}, nil
}

// declared returns the names of the variables that a body declares outside nested
// blocks.
func declared(body *ast.BlockStmt) []string {
	var names []string
	add := func(e ast.Expr) {
		if id, ok := e.(*ast.Ident); ok && id.Name != "_" {
			names = append(names, id.Name)
		}
	}
	for _, s := range body.List {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE {
				for _, e := range s.Lhs {
					add(e)
				}
			}
		case *ast.DeclStmt:
			for _, spec := range s.Decl.(*ast.GenDecl).Specs {
				if v, ok := spec.(*ast.ValueSpec); ok && s.Decl.(*ast.GenDecl).Tok == token.VAR {
					for _, id := range v.Names {
						add(id)
					}
				}
			}
		}
	}
	return names
}

// returned returns the largest number of values in a return statement of a body,
// without those of function literals.
func returned(body *ast.BlockStmt) int {
	most := 0
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			most = max(most, len(n.Results))
		}
		return true
	})
	return most
}

// compile builds each source as a package of the module at root. The files exist
// in an overlay of the go command only.
func compile(ctx context.Context, root string, sources []source) error {
	if len(sources) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp("", "snippets-*")
	if err != nil {
		return fmt.Errorf("compile the snippets: %w", err)
	}
	defer os.RemoveAll(dir)

	pkgs, overlay, err := overlaid(dir, root, sources)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-o", os.DevNull, "-overlay", overlay}, pkgs...)...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("the documentation's Go does not compile (%w):\n%s", err, readable(root, string(out)))
	}
	return nil
}

// overlaid writes the sources to dir, with an overlay file that makes each of them a
// package of the module at root. It returns the packages and the overlay file.
func overlaid(dir, root string, sources []source) (pkgs []string, overlayFile string, err error) {
	const home = "internal/documentation_snippets"
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for i, s := range sources {
		file := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(file, []byte(s.text), 0o644); err != nil {
			return nil, "", fmt.Errorf("compile the snippets: %w", err)
		}
		pkg := fmt.Sprintf("%s/s%d", home, i)
		overlay.Replace[filepath.Join(root, pkg, "snippet.go")] = file
		pkgs = append(pkgs, "./"+pkg)
	}
	raw, err := json.Marshal(overlay)
	if err != nil {
		return nil, "", fmt.Errorf("compile the snippets: %w", err)
	}
	overlayFile = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, raw, 0o644); err != nil {
		return nil, "", fmt.Errorf("compile the snippets: %w", err)
	}
	return pkgs, overlayFile, nil
}

// readable removes from the compiler's output the names of the packages and the
// path of the repository.
func readable(root, out string) string {
	var lines []string
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "# ") {
			continue
		}
		line = strings.ReplaceAll(line, root+string(filepath.Separator), "")
		lines = append(lines, strings.TrimPrefix(strings.TrimRight(line, "\n"), "./"))
	}
	return strings.Join(lines, "\n")
}
