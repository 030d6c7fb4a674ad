package signature

// SigningInput is signingInput, for the example of RFC 7797.
var SigningInput = signingInput
