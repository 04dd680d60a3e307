package trunkline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline"
)

// withSecrets holds a Secret in every way that a printer can reach it.
type withSecrets struct {
	Exported   trunkline.Secret
	unexported trunkline.Secret
	pointer    *trunkline.Secret
	Slice      []trunkline.Secret
	Map        map[string]trunkline.Secret
	any        any
	nested     struct{ inner trunkline.Secret }
	kafka      trunkline.KafkaSecurity
	Config     trunkline.Config
}

func TestNoPrintedFormRevealsASecret(t *testing.T) {
	t.Parallel()
	s := trunkline.NewSecret(password)
	c := validConfig()
	c.Kafka = trunkline.KafkaSecurity{TLS: true, User: "u", Password: s}
	v := withSecrets{Exported: s, unexported: s, pointer: &s, Slice: []trunkline.Secret{s}, Map: map[string]trunkline.Secret{"k": s},
		any: s, kafka: c.Kafka, Config: c}
	v.nested.inner = s

	// The bytes of the password in other notations.
	forms := []string{password, "sesame", fmt.Sprintf("%x", password), fmt.Sprintf("%X", password), fmt.Sprintf("%d", []byte(password))}
	check := func(what, text string) {
		t.Helper()
		for _, form := range forms {
			require.NotContains(t, text, form, what)
		}
	}
	for name, value := range map[string]any{"secret": s, "pointer": &s, "struct": v, "pointer to struct": &v, "config": c, "kafka": c.Kafka} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			check(name+" "+verb, fmt.Sprintf(verb, value))
		}
		var text, asJSON bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("start", "value", value, slog.Group("group", slog.Any("value", value)))
		slog.New(slog.NewJSONHandler(&asJSON, nil)).Info("start", "value", value, slog.Group("group", slog.Any("value", value)))
		check(name+" slog text", text.String())
		check(name+" slog JSON", asJSON.String())
		marshaled, err := json.Marshal(value)
		require.NoError(t, err)
		check(name+" JSON", string(marshaled))
		// The message of a failed assertion ignores methods and reads unexported fields.
		var failure failureText
		assert.Equal(&failure, value, nil) //nolint:testifylint // the text of its failure is what is tested
		require.Contains(t, string(failure), "Not equal")
		check(name+" reflection", string(failure))
	}
	require.Equal(t, password, s.Reveal())
}

func TestSecretShowsWhetherItIsSet(t *testing.T) {
	t.Parallel()
	set, unset := trunkline.NewSecret(password), trunkline.NewSecret("")
	require.Equal(t, "[set]", set.String())
	require.Equal(t, "[set] [set]", fmt.Sprintf("%v %d", set, set))
	require.Equal(t, `trunkline.Secret{"[set]"}`, fmt.Sprintf("%#v", set))
	require.True(t, set.IsSet())
	require.Empty(t, unset.String())
	require.Empty(t, unset.Reveal())
	require.False(t, unset.IsSet())
	require.Equal(t, trunkline.Secret{}, unset)
	require.True(t, set == set, "a copy equals its original") //nolint:staticcheck,testifylint // the comparison is what is tested
	c := validConfig()
	c.Kafka = trunkline.KafkaSecurity{TLS: true, User: "u", Password: set}
	require.Contains(t, c.String(), "kafka-password=[set]")
}

// A printed Config omits the parts of the URL that may contain a secret by mistake.
func TestConfigPrintsNoURLParametersAndNoInvalidURL(t *testing.T) {
	t.Parallel()
	c := validConfig()
	c.BusURL = "kafka://user:" + password + "@h:1"
	require.Contains(t, c.String(), "bus=[invalid]")
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", c, c, c), "sesame")
	c.BusURL = "kafka://h:1?password=sesame"
	require.Contains(t, c.String(), "bus=kafka://h:1 ")
	require.NotContains(t, c.String(), "sesame")
}

// failureText is the message of a failed assertion.
type failureText string

func (f *failureText) Errorf(format string, args ...any) {
	*f += failureText(fmt.Sprintf(format, args...))
}
