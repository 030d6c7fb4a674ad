package main

import (
	"errors"
	"slices"

	"simpd/cluster/accounts"
	"simpd/cluster/accounts/oidc"
	"simpd/protocol/secretfile"
)

// oidcType is the account source for OpenID providers.
func oidcType() sourceType {
	return sourceType{name: "oidc", help: "an OpenID provider, or another authorization server of OAuth 2", begin: func() ([]sourceKey, func(sourceEnv) (accounts.Source, error)) {
		o := &oidcFile{}
		return o.keys(), o.create
	}}
}

// oidcFile holds the settings of an OpenID provider.
type oidcFile struct {
	oidc.Config
	caFile, secretFile string
}

func (o *oidcFile) keys() []sourceKey {
	return []sourceKey{
		{name: "issuer", arg: "URL", required: true, help: "the provider's identifier, which its tokens have as iss", set: keepChecked(&o.Issuer, oidc.ParseURL)},
		{name: "audience", arg: "NAME", form: list, required: true, help: "the values of aud with which tokens are accepted", set: func(v []string) error {
			o.Audiences = v
			if slices.Contains(v, "") {
				return errors.New("an audience is empty")
			}
			return nil
		}},
		{name: "algorithms", arg: "NAME", form: list, help: "the algorithms of signatures that are accepted, such as RS256; if not set, all that need the provider's private key", set: func(v []string) error {
			o.Algorithms = v
			for _, name := range v {
				if err := oidc.ParseAlgorithm(name); err != nil {
					return err
				}
			}
			return nil
		}},
		{name: "address_claim", arg: "CLAIM", standard: "email", help: "the claim that holds a user's address", set: keepText(&o.AddressClaim)},
		{name: "verified_claim", arg: "CLAIM", standard: "email_verified", help: "the claim that has to be true so that the address counts; always, if the provider vouches for each address. Required if address_claim is not email", set: keepText(&o.VerifiedClaim)},
		{name: "client_id", arg: "NAME", help: "the client ID of simp at the provider, which simp login is told", set: keepText(&o.ClientID)},
		{name: "scope", arg: "WORDS", standard: "openid email", help: "the scope with which simp login gets a token", set: keepText(&o.Scope)},
		{name: "introspection", arg: "URL", help: "where the provider is asked about tokens that are not JSON Web Tokens; if not set, they are rejected", set: keepChecked(&o.Introspection, oidc.ParseURL)},
		{name: "introspection_id", arg: "NAME", help: "the client ID with which introspection is asked", set: keepText(&o.IntrospectionID)},
		{name: "introspection_secret_file", arg: "FILE", help: "a file of mode 0600 with the secret of introspection_id", set: keepText(&o.secretFile)},
		{name: "introspect_all", form: toggle, help: "also show the provider opaque tokens that another provider may have issued, and leave those that it does not know to the next source; all sources of a domain that introspect need it if there are several", set: keepToggle(&o.IntrospectAll)},
		{name: "ca_file", arg: "FILE", help: "the certificate authority of the provider, instead of the system's", set: keepText(&o.caFile)},
	}
}

// create reads the files, and makes the source.
func (o *oidcFile) create(env sourceEnv) (accounts.Source, error) {
	c := o.Config
	c.Name, c.Logger, c.AskSite = env.name, env.logger, env.askSite
	if c.Scope == "" {
		c.Scope = "openid email"
	}
	if c.AddressClaim != "" && c.AddressClaim != "email" && c.VerifiedClaim == "" {
		return nil, keyError{"address_claim", errors.New("set verified_claim too: email_verified vouches for the claim email only")}
	}
	if o.caFile != "" {
		authorities, err := secretfile.LoadAuthorities(o.caFile)
		if err != nil {
			return nil, keyError{"ca_file", err}
		}
		c.Roots = secretfile.Roots(authorities)
	}
	if o.secretFile != "" {
		var err error
		if c.IntrospectionKey, err = readSecret(o.secretFile); err != nil {
			return nil, keyError{"introspection_secret_file", err}
		}
	}
	if c.Introspection != "" && (c.IntrospectionID == "" || c.IntrospectionKey == "") {
		return nil, keyError{"introspection", errors.New("introspection_id and introspection_secret_file are required with it")}
	}
	if c.IntrospectAll && c.Introspection == "" {
		return nil, keyError{"introspect_all", errors.New("it has no effect without introspection")}
	}
	return oidc.New(c)
}
