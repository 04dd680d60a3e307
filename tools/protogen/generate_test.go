package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

const greeter = `syntax = "proto3";
package greeter.v1;
import "google/rpc/status.proto";
import "google/protobuf/timestamp.proto";
option go_package = "example.com/greeter";

// Hello has a time.
message Hello {
  google.protobuf.Timestamp at = 1;
  google.rpc.Status status = 2;
}

service Greeter { rpc Greet(Hello) returns (stream Hello); }
`

func put(t *testing.T, root, path, content string) {
	t.Helper()
	full := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func protogen(t *testing.T, root string, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	if code := run(t.Context(), append(args, "-root", root), &out, &complaints); code != want {
		t.Fatalf("exit status %d, want %d\n%s", code, want, complaints.String())
	}
	return out.String(), complaints.String()
}

func contains(t *testing.T, text, want string) {
	t.Helper()
	if !bytes.Contains([]byte(text), []byte(want)) {
		t.Fatalf("want %q in:\n%s", want, text)
	}
}

func TestCheckReportsFilesThatAreOutOfDate(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	protogen(t, root, 0, "-check") // without .proto files everything is up to date

	put(t, root, "api/greeter.proto", greeter)
	_, complaints := protogen(t, root, 1, "-check")
	contains(t, complaints, "api/greeter.pb.go is missing")
	contains(t, complaints, "api/greeter_grpc.pb.go is missing")

	written, _ := protogen(t, root, 0)
	contains(t, written, "api/greeter.pb.go\napi/greeter_grpc.pb.go\n")
	protogen(t, root, 0, "-check")
	generated, err := os.ReadFile(filepath.Join(root, "api/greeter.pb.go"))
	if err != nil {
		t.Fatal(err)
	}
	contains(t, string(generated), "// Hello has a time.\ntype Hello struct")

	put(t, root, "api/greeter.proto", greeter+"message More {}\n")
	put(t, root, "api/stray.pb.go", "package greeter\n")
	_, complaints = protogen(t, root, 1, "-check")
	contains(t, complaints, "api/greeter.pb.go:")
	contains(t, complaints, "is out of date")
	contains(t, complaints, "api/stray.pb.go has no .proto file")
}

func TestSyntaxErrorHasFileAndLine(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, root, "bad.proto", "syntax = \"proto3\";\nmessage {}\n")
	_, complaints := protogen(t, root, 1)
	contains(t, complaints, "bad.proto:2:9")
}
