package main

import (
	"context"
	"errors"
	"fmt"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/tools/go/packages"
)

// load type-checks the public packages of the module at root and returns them
// by their path from the root of the module. The root package has the path ".".
func load(ctx context.Context, root string) (map[string]*types.Package, error) {
	config := &packages.Config{
		Context: ctx,
		Dir:     root,
		// Dependencies are read from source, without the bodies of functions,
		// which is faster than compiling them.
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedDeps | packages.NeedSyntax | packages.NeedTypes | packages.NeedModule,
		Env: append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off"),
	}
	loaded, err := packages.Load(config, "./...")
	if err != nil {
		return nil, fmt.Errorf("load the packages in %s: %w", root, err)
	}
	public := make(map[string]*types.Package)
	var broken []error
	for _, p := range loaded {
		if p.Module == nil {
			broken = append(broken, fmt.Errorf("%s: not part of a module", p.PkgPath))
			continue
		}
		path := "." + strings.TrimPrefix(p.PkgPath, p.Module.Path)
		path = strings.TrimPrefix(path, "./")
		if p.Name == "main" || !isPublic(path) {
			continue
		}
		for _, e := range p.Errors {
			broken = append(broken, e)
		}
		public[path] = p.Types
	}
	if len(broken) > 0 {
		return nil, fmt.Errorf("load the packages in %s: %w", root, errors.Join(broken...))
	}
	return public, nil
}

// isPublic reports whether users may import a package, by its path from the
// root of the module.
func isPublic(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "internal" {
			return false
		}
	}
	return path != "examples" && !strings.HasPrefix(path, "examples/")
}

// loadAt is load for a commit, which it checks out into a temporary folder.
// An empty commit means the working tree.
func loadAt(ctx context.Context, root, commit string) (map[string]*types.Package, error) {
	if commit == "" {
		return load(ctx, root)
	}
	dir, err := os.MkdirTemp("", "api-*")
	if err != nil {
		return nil, fmt.Errorf("check out %s: %w", commit, err)
	}
	defer os.RemoveAll(dir)
	// git resolves symbolic links in paths, and go list does not.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, fmt.Errorf("check out %s: %w", commit, err)
	}
	tree := filepath.Join(dir, "tree")
	archive := filepath.Join(dir, "tree.tar")
	if _, err := git(ctx, root, "archive", "--format=tar", "--output="+archive, commit); err != nil {
		return nil, err
	}
	if err := os.Mkdir(tree, 0o750); err != nil {
		return nil, fmt.Errorf("check out %s: %w", commit, err)
	}
	if out, err := exec.CommandContext(ctx, "tar", "-xf", archive, "-C", tree).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("check out %s: tar: %w: %s", commit, err, out)
	}
	return load(ctx, tree)
}

// lastTag returns the latest version tag of the root module that HEAD contains,
// or "" if there is none. Tags of nested modules have a slash in their name.
func lastTag(ctx context.Context, root string) (string, error) {
	tags, err := git(ctx, root, "tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname")
	if err != nil {
		return "", err
	}
	tag, _, _ := strings.Cut(tags, "\n")
	return tag, nil
}

func git(ctx context.Context, root string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = root
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(complaint.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
