package kafka

import "github.com/trunkline/trunkline/bus/driver"

// urlSecurity takes the parameters about TLS and SASL. Secrets are not among them, only
// where they are.
func urlSecurity(u *driver.URL) ([]Option, error) {
	var opts []Option
	encrypt := u.Bool("tls", false)
	file := func(name string) (PEM, string) {
		path := u.Text(name, "")
		if path == "" {
			return PEM{}, ""
		}
		return PEMFile(path), name
	}
	var from TLS
	var given [4]string
	from.CA, given[0] = file("ca")
	from.Cert, given[1] = file("cert")
	from.Key, given[2] = file("key")
	if from.ServerName = u.Text("server_name", ""); from.ServerName != "" {
		given[3] = "server_name"
	}
	if encrypt {
		opts = append(opts, WithTLSFrom(from))
	} else {
		for _, name := range given {
			if name != "" {
				return nil, invalid("the URL parameter " + name + " needs tls=true")
			}
		}
	}

	mechanism, user := u.Text("sasl", ""), u.Text("user", "")
	secret, err := urlSecret(u)
	if err != nil {
		return nil, err
	}
	switch {
	case mechanism != "" && secret == nil:
		return nil, invalid("the URL parameter sasl needs password_file, password_env, token_file or token_env")
	case mechanism != "":
		opts = append(opts, withSASL(mechanism, user, secret))
	case user != "" || secret != nil:
		return nil, invalid("the URL names a user or a secret, and no mechanism: give sasl=scram-sha-512, or another")
	}
	if u.Bool("insecure_sasl", false) {
		opts = append(opts, WithInsecureSASL())
	}
	return opts, nil
}

// urlSecret returns the secret that a URL says where to find, nil when it says nothing.
func urlSecret(u *driver.URL) (Secret, error) {
	var secret Secret
	for _, p := range []struct {
		name string
		from func(string) (Secret, error)
	}{{"password_file", SecretFile}, {"password_env", SecretEnv}, {"token_file", SecretFile}, {"token_env", SecretEnv}} {
		where := u.Text(p.name, "")
		switch {
		case where == "":
			continue
		case secret != nil:
			return nil, invalid("the URL parameter " + p.name + " is one secret too many: give one")
		}
		var err error
		if secret, err = p.from(where); err != nil {
			return nil, err
		}
	}
	return secret, nil
}
