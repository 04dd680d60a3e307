package driver_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/trunkline/trunkline/bus/driver"
)

func TestURLHasParametersOfSetAndCredentialsOfSetCredential(t *testing.T) {
	t.Parallel()
	u, err := driver.ParseURL("kafka://h:1?tls=true")
	require.NoError(t, err)
	require.ErrorContains(t, u.Set("tls", "true"), "the URL parameter tls is also set outside the URL")
	require.NoError(t, u.Set("user", "ada"))
	u.SetCredential("password", func(context.Context) (string, error) { return "secret", nil })
	require.True(t, u.Bool("tls", false))
	require.Equal(t, "ada", u.Text("user", ""))

	err = u.Done()
	require.ErrorContains(t, err, "does not accept the credential password", "Done reports a credential that the opener did not read")
	require.Equal(t, driver.CodeInvalidArgument, driver.CodeOf(err))
	password, err := u.Credential("password")(t.Context())
	require.NoError(t, err)
	require.Equal(t, "secret", password)
	require.Nil(t, u.Credential("password"), "Credential removes the credential from the URL")
	require.NoError(t, u.Done())
}
