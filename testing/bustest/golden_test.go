package bustest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus"
	"github.com/trunkline/trunkline/testing/bustest"
)

func goldenMessages() []bustest.Message {
	return []bustest.Message{
		{Topic: "orders", Key: "b", Offset: 4, UUID: watermill.NewUUID(), Payload: []byte(`{"z": 1, "a": {"id": 7, "at": "now"}, "html": "<b>"}`),
			Headers: map[string]string{"traceparent": "00-1", "call": watermill.NewUUID(), "sent": "2024-02-29T12:00:00.5Z", "kind": "new", "Secret": "x"}},
		{Topic: "bills", Payload: []byte("plain\ntext ⏎ here")},
		{Topic: "orders", Key: "a", Payload: []byte("the messages of key b come next")},
		{Topic: "orders", Key: "b", Payload: []byte{0, 1}},
		{Topic: "audit"},
	}
}

func TestGoldenMatchesItsFile(t *testing.T) {
	t.Parallel()
	bustest.Golden(t, "orders", goldenMessages(), bustest.OnlyTopics("orders", "bills"), bustest.IgnoreHeaders("secret"), bustest.IgnoreFields("at"))
}

func TestGoldenOfAKit(t *testing.T) {
	t.Parallel()
	k := bustest.New(t, bustest.WithTopics("in", "out", "log"), bustest.WithPartitions(3))
	k.Consume("in", echo(k.Bus(), "out"), bus.Group("g"), bus.OrderByKey())
	for _, key := range []string{"c", "a", "b", "a"} {
		k.Publish("in", bustest.Key(key), bustest.Payload("for "+key))
	}
	require.NoError(t, k.Bus().Publish("log", message.NewMessage(watermill.NewUUID(), nil)))
	k.Golden("echoed", bustest.OnlyTopics("out"))
}

func TestGoldenShowsTheDifference(t *testing.T) {
	t.Parallel()
	all := goldenMessages()[:4]
	opts := []bustest.GoldenOption{bustest.IgnoreHeaders("secret"), bustest.IgnoreFields("at")}
	all[2].Payload = []byte("something else")
	all[0].Headers["kind"] = "old"
	require.Equal(t, `bustest: the messages differ from testdata/orders.golden (- is the file, + the messages; BUSTEST_UPDATE=1 rewrites the file):
  …
  
  topic orders
  key a
- the messages of key b come next
+ something else
  
  topic orders
  key b
  header call: <uuid>
- header kind: new
+ header kind: old
  header sent: <time>
  {
    "a": {
  …`, runTest(func(t testing.TB) { bustest.Golden(t, "orders", all, opts...) }))
	require.Equal(t, "bustest: testdata/missing.golden does not exist: run the test with BUSTEST_UPDATE=1 to create it with this content:\ntopic audit\n\n",
		runTest(func(t testing.TB) { bustest.Golden(t, "missing", goldenMessages()[4:]) }))
	require.Equal(t, `bustest: golden file "../x": the name must be a path within testdata`,
		runTest(func(t testing.TB) { bustest.Golden(t, "../x", nil) }))
}

// It cannot run in parallel, because it sets the environment and the working directory.
func TestGoldenWritesTheFile(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("BUSTEST_UPDATE", "1")
	f := &fakeT{}
	f.run(func() { bustest.Golden(f, "deep/er", goldenMessages()) })
	require.Empty(t, f.failures)
	require.Equal(t, []string{"bustest: wrote " + filepath.Join("testdata", "deep", "er.golden")}, f.logs)
	t.Setenv("BUSTEST_UPDATE", "")
	bustest.Golden(t, "deep/er", goldenMessages())
	require.NoError(t, os.WriteFile(filepath.Join("testdata", "deep", "er.golden"), []byte("other\n"), 0o600))
	require.Contains(t, runTest(func(t testing.TB) { bustest.Golden(t, "deep/er", goldenMessages()) }), "\n- other\n+ topic audit\n")
}
