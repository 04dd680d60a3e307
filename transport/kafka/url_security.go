package kafka

import "github.com/trunkline/trunkline/bus/driver"

// urlSecurity reads the parameters for TLS and SASL. They name the places of credentials,
// never the credentials.
func urlSecurity(u *driver.URL) ([]Option, error) {
	var opts []Option
	encrypt := u.Bool("tls", false)
	var settings TLS
	var given []string // parameters that need tls=true
	for _, p := range []struct {
		name string
		to   *PEM
	}{{"ca", &settings.CA}, {"cert", &settings.Cert}, {"key", &settings.Key}} {
		if path := u.Text(p.name, ""); path != "" {
			*p.to = PEMFile(path)
			given = append(given, p.name)
		}
	}
	if settings.ServerName = u.Text("server_name", ""); settings.ServerName != "" {
		given = append(given, "server_name")
	}
	if encrypt {
		opts = append(opts, WithTLSFrom(settings))
	} else if len(given) > 0 {
		return nil, invalid("URL parameter " + given[0] + " needs tls=true")
	}

	mechanism, user := u.Text("sasl", ""), u.Text("user", "")
	source, err := urlCredential(u)
	if err != nil {
		return nil, err
	}
	switch {
	case mechanism != "" && source == nil:
		return nil, invalid("URL parameter sasl needs password_file, password_env, token_file or token_env")
	case mechanism != "":
		opts = append(opts, withSASL(mechanism, user, source))
	case user != "" || source != nil:
		return nil, invalid("URL names a user or a credential but no mechanism: add sasl=scram-sha-512 or another mechanism")
	}
	if u.Bool("insecure_sasl", false) {
		opts = append(opts, WithInsecureSASL())
	}
	return opts, nil
}

// urlCredential returns the source of the password or token: the password that was set
// outside the URL, or the place that the URL names. It returns nil if there is neither.
func urlCredential(u *driver.URL) (CredentialSource, error) {
	var source CredentialSource
	if password := u.Credential("password"); password != nil {
		source = password
	}
	for _, p := range []struct {
		name string
		from func(string) (CredentialSource, error)
	}{
		{"password_file", CredentialFile}, {"password_env", CredentialEnv},
		{"token_file", CredentialFile}, {"token_env", CredentialEnv},
	} {
		place := u.Text(p.name, "")
		switch {
		case place == "":
			continue
		case source != nil:
			return nil, invalid("URL parameter " + p.name + " names a second credential: use only one of a password set outside the URL, password_file, password_env, token_file and token_env")
		}
		var err error
		if source, err = p.from(place); err != nil {
			return nil, err
		}
	}
	return source, nil
}
