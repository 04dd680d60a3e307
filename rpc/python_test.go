package rpc_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/rpc"
	"github.com/trunkline/trunkline/testing/kafkatest/kafkatb"
	"github.com/trunkline/trunkline/transport/kafka"
)

// pythonKafka is the package that the client of docs/wire.md needs.
const pythonKafka = "kafka-python==3.0.12"

// The test runs the code blocks of docs/wire.md against a Go server.
func TestPythonClientOfTheDocumentation(t *testing.T) {
	t.Parallel()
	if os.Getenv(kafkatb.Env) == "" {
		t.Skipf("needs a real Kafka, and %s is not set", kafkatb.Env)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	python := pythonWithKafka(ctx, t)
	broker := kafkatb.New(t)
	topic := kafkatb.Topic(t, broker, 4)

	tr, err := kafka.New(broker.Addrs())
	require.NoError(t, err)
	b, err := bus.New(tr)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	s, err := rpc.NewServer(b)
	require.NoError(t, err)
	type greeting struct{ Text, Key string }
	require.NoError(t, rpc.Handle(s, "Greet", func(ctx context.Context, req *GreetRequest) (*greeting, error) {
		if req.Name == "" {
			return nil, status.Error(codes.NotFound, "nobody — is called that")
		}
		call, _ := rpc.FromContext(ctx)
		return &greeting{"hello " + req.Name, call.Key}, nil
	}))
	require.NoError(t, s.Listen(topic))
	t.Cleanup(func() { require.NoError(t, s.Shutdown(context.WithoutCancel(ctx))) })
	require.NoError(t, s.Ready(ctx))

	text, err := os.ReadFile(filepath.Join("..", "docs", "wire.md"))
	require.NoError(t, err)
	blocks := strings.Split(string(text), "```python\n")
	require.Len(t, blocks, 3, "the document has two Python blocks: the client, and an example of its use")
	client, _, _ := strings.Cut(blocks[1], "```")
	example, _, _ := strings.Cut(blocks[2], "```")
	example = strings.ReplaceAll(example, `"127.0.0.1:9092"`, "servers")
	example = strings.ReplaceAll(example, `"greeter"`, "topic")
	program := client + `
import sys
import time
topic, servers = sys.argv[1], sys.argv[2:]
` + example + `
client = Client(servers)
for i in range(20):
    assert client.call(topic, "Greet", {"Name": str(i)}, key=str(i)) == {"Text": "hello " + str(i), "Key": str(i)}
for method, code in ("Greet", 5), ("Greeet", 12):
    try:
        client.call(topic, method, {})
        print("no error")
    except RPCError as e:
        print(e.code == code, e)
try:
    client.call(topic, "Greet", "a string")
except RPCError as e:
    print(e)
client.close()
gone = time.time() + 60
while time.time() < gone and client.reply_to in KafkaConsumer(bootstrap_servers=servers).topics():
    time.sleep(0.1) # the brokers learn of it one after the other
print(time.time() < gone)
`
	file := filepath.Join(t.TempDir(), "client.py")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	cmd := exec.CommandContext(ctx, python, append([]string{file, topic}, broker.Addrs()...)...)
	cmd.Env = append(os.Environ(), "PYTHONIOENCODING=utf-8")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	require.Len(t, lines, 5, string(out))
	require.Equal(t, "{'Text': 'hello Ada', 'Key': 'Ada'}", lines[0])
	require.Equal(t, "True rpc error 5: nobody — is called that", lines[1])
	require.True(t, strings.HasPrefix(lines[2], "True rpc error 12: "), lines[2])
	require.True(t, strings.HasPrefix(lines[3], "rpc error 3: decode the request"), lines[3])
	require.Equal(t, "True", lines[4], "the reply topic is deleted")
}

// pythonWithKafka returns a Python that has the package: the one that TRUNKLINE_PYTHON names,
// or one in a virtual environment of the test, into which pip installs the package.
func pythonWithKafka(ctx context.Context, t *testing.T) string {
	if p := os.Getenv("TRUNKLINE_PYTHON"); p != "" {
		return p
	}
	system, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("needs python3 in PATH, or TRUNKLINE_PYTHON naming one that has " + pythonKafka)
	}
	dir := t.TempDir()
	python := filepath.Join(dir, "bin", "python")
	for _, args := range [][]string{
		{system, "-m", "venv", dir},
		{python, "-m", "pip", "install", "-q", "--disable-pip-version-check", pythonKafka},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Skipf("needs a Python with %s, and %v failed: %v\n%s", pythonKafka, args, err, out)
		}
	}
	return python
}
