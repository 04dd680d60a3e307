package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	_ "google.golang.org/genproto/googleapis/rpc/code"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// generate returns the content of the files that are generated from the .proto files
// under root, by their path from root.
func generate(ctx context.Context, root string) (map[string][]byte, error) {
	sources, err := find(root, ".proto")
	if err != nil || len(sources) == 0 {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.CompositeResolver{
			&protocompile.SourceResolver{ImportPaths: []string{root}},
			protocompile.ResolverFunc(builtIn),
		},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, sources...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}

	request := &pluginpb.CodeGeneratorRequest{Parameter: proto.String("paths=source_relative")}
	seen := make(map[string]bool)
	var services []string
	for _, f := range files {
		request.FileToGenerate = append(request.FileToGenerate, f.Path())
		if f.Services().Len() > 0 {
			services = append(services, f.Path())
		}
		addWithImports(request, f, seen)
	}
	generated := make(map[string][]byte)
	if err := plugin(ctx, "protoc-gen-go", request, generated); err != nil {
		return nil, err
	}
	if len(services) > 0 {
		request.FileToGenerate = services
		if err := plugin(ctx, "protoc-gen-go-grpc", request, generated); err != nil {
			return nil, err
		}
	}
	return generated, nil
}

// builtIn returns the .proto files whose Go packages are part of this program.
func builtIn(path string) (protocompile.SearchResult, error) {
	desc, err := protoregistry.GlobalFiles.FindFileByPath(path)
	if err != nil {
		return protocompile.SearchResult{}, err
	}
	return protocompile.SearchResult{Desc: desc}, nil
}

// addWithImports adds f to the request, after the files that it imports. Plugins
// expect that order.
func addWithImports(request *pluginpb.CodeGeneratorRequest, f protoreflect.FileDescriptor, seen map[string]bool) {
	if seen[f.Path()] {
		return
	}
	seen[f.Path()] = true
	for i := range f.Imports().Len() {
		addWithImports(request, f.Imports().Get(i).FileDescriptor, seen)
	}
	request.ProtoFile = append(request.ProtoFile, descriptor(f))
}

func descriptor(f protoreflect.FileDescriptor) *descriptorpb.FileDescriptorProto {
	// A file that was compiled here has its own descriptor, with comments.
	// protodesc omits comments.
	if r, ok := f.(interface {
		FileDescriptorProto() *descriptorpb.FileDescriptorProto
	}); ok {
		return r.FileDescriptorProto()
	}
	return protodesc.ToFileDescriptorProto(f)
}

// plugin runs a pinned plugin and adds the files that it returns to generated.
func plugin(ctx context.Context, name string, request *pluginpb.CodeGeneratorRequest, generated map[string][]byte) error {
	in, err := proto.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: encode the request: %w", name, err)
	}
	// The folder of this process is in the module that pins the plugins.
	cmd := exec.CommandContext(ctx, "go", "tool", name)
	cmd.Stdin = bytes.NewReader(in)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, bytes.TrimSpace(complaints.Bytes()))
	}
	var response pluginpb.CodeGeneratorResponse
	if err := proto.Unmarshal(out.Bytes(), &response); err != nil {
		return fmt.Errorf("%s: decode the response: %w", name, err)
	}
	if response.Error != nil {
		return fmt.Errorf("%s: %s", name, response.GetError())
	}
	for _, f := range response.File {
		generated[f.GetName()] = []byte(f.GetContent())
	}
	return nil
}

// compare returns an error that lists the committed files that are missing, differ
// from want, or have no .proto file.
func compare(root string, want map[string][]byte) error {
	var stale []error
	for _, path := range slices.Sorted(maps.Keys(want)) {
		have, err := os.ReadFile(filepath.Join(root, path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			stale = append(stale, fmt.Errorf("%s is missing", path))
		case err != nil:
			stale = append(stale, err)
		case !bytes.Equal(have, want[path]):
			stale = append(stale, fmt.Errorf("%s:%d is out of date", path, firstDifference(have, want[path])))
		}
	}
	have, err := find(root, ".pb.go")
	if err != nil {
		return err
	}
	for _, path := range have {
		if want[path] == nil {
			stale = append(stale, fmt.Errorf("%s has no .proto file", path))
		}
	}
	if len(stale) > 0 {
		return fmt.Errorf("generated files are out of date; to update them: go run -C tools ./protogen\n%w", errors.Join(stale...))
	}
	return nil
}

// firstDifference returns the number of the first line that differs.
func firstDifference(a, b []byte) int {
	la, lb := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	n := min(len(la), len(lb))
	for i := range n {
		if !bytes.Equal(la[i], lb[i]) {
			return i + 1
		}
	}
	return n
}

// write writes the files and prints their names.
func write(root string, files map[string][]byte, stdout io.Writer) error {
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(root, path), files[path], 0o644); err != nil {
			return fmt.Errorf("write the generated code: %w", err)
		}
		fmt.Fprintln(stdout, path)
	}
	return nil
}

// find returns the files under root whose names end with suffix, by their path
// from root with slashes. It ignores folders named testdata or vendor, and folders
// that begin with a dot or an underscore.
func find(root, suffix string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || name == "testdata" || name == "vendor") {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, suffix) {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("find %s files: %w", suffix, err)
	}
	return found, nil
}
