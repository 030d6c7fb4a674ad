package protocol

// Credentials holds what a site stores of a password: the verifier of
// SCRAM-SHA-256 (RFC 5802, RFC 7677). The password can't be had from it.
type Credentials struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
	// Index is of the change that set them, or that disabled the account, the
	// newer of both; a connection bears it as Client.Credential.
	Index    uint64
	Disabled bool // the account may not log in
	// Unchecked says that nobody has seen yet that the verifier is not the
	// empty password's: it may be older than CheckPassword.
	Unchecked bool
	// AppPasswords verify the user's app passwords that have not ended.
	AppPasswords []AppVerifier
	// SharesSalt reports that the user has app passwords: a new password has to
	// have the same salt and iteration count.
	SharesSalt bool
	// Source is the account source that the account belongs to. Then it has no
	// password of its own here. "" is the site's table.
	Source string
	// AsksSources says that account sources have a say in whether a password
	// that is not an app password is the user's: Backend.AskSources decides.
	AsksSources bool
	// OwnElsewhere says that SCRAM is for the user's app passwords only, because
	// an account source comes before the table and may know the user.
	OwnElsewhere bool
}
