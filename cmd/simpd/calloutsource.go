package main

import (
	"simpd/cluster/accounts"
	"simpd/cluster/accounts/callout"
	"simpd/protocol/secretfile"
)

// calloutType is the account source that asks a program over HTTP.
func calloutType() sourceType {
	return sourceType{name: "callout", help: "a program of your own, asked over HTTP", begin: func() ([]sourceKey, func(sourceEnv) (accounts.Source, error)) {
		c := &calloutFile{}
		return c.keys(), c.create
	}}
}

// calloutFile holds the settings of a call-out.
type calloutFile struct {
	callout.Config
	caFile, bearerFile string
}

func (f *calloutFile) keys() []sourceKey {
	return []sourceKey{
		{name: "url", arg: "URL", required: true, help: "where each login is sent with POST, like https://login.example.com/simp", set: keepText(&f.URL)},
		{name: "ca_file", arg: "FILE", help: "the certificate authority of the server, instead of the system's", set: keepText(&f.caFile)},
		{name: "bearer_file", arg: "FILE", help: "a file of mode 0600 with a token that is sent as Authorization: Bearer", set: keepText(&f.bearerFile)},
		{name: "insecure", form: toggle, help: "allow http://, on loopback only", set: keepToggle(&f.Insecure)},
	}
}

// create reads the files, and makes the source.
func (f *calloutFile) create(env sourceEnv) (accounts.Source, error) {
	c := f.Config
	c.Name, c.Logger = env.name, env.logger
	if err := callout.CheckURL(c.URL, c.Insecure); err != nil {
		return nil, keyError{"url", err}
	}
	if f.caFile != "" {
		authorities, err := secretfile.LoadAuthorities(f.caFile)
		if err != nil {
			return nil, keyError{"ca_file", err}
		}
		c.Roots = secretfile.Roots(authorities)
	}
	if f.bearerFile != "" {
		var err error
		if c.Bearer, err = readSecret(f.bearerFile); err != nil {
			return nil, keyError{"bearer_file", err}
		}
	}
	return callout.New(c)
}
