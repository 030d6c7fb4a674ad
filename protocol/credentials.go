package protocol

// Credentials is what a site keeps of a password: the verifier of
// SCRAM-SHA-256 (RFC 5802, RFC 7677). The password can't be had from it.
type Credentials struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
	Index      uint64 // of the change that set them; counted as Client.Credential
	Disabled   bool   // the account may not log in
}
