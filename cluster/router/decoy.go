package router

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"math"

	"simpd/protocol"
	"simpd/store"
)

// defaultShape is the shape of the verifiers that this program makes.
var defaultShape = store.VerifierShape{Salt: protocol.ScramSaltOctets, Iterations: protocol.ScramIterations}

// decoyCredentials returns credentials for an unknown user. Salt lengths and
// iteration counts are distributed over names as over the site's accounts.
// Salt and keys come from one hash: no key exists whose hash would equal the
// salt, which is public.
//
// When the distribution changes, as few names as possible change their shape.
// A name that does also gets another salt, like an account whose password is
// changed, so the change does not distinguish a decoy from an account.
func decoyCredentials(secret []byte, user protocol.Address, shapes []store.ShapeCount) protocol.Credentials {
	shape := decoyShape(secret, user, shapes)
	var suffix []byte
	if shape != defaultShape { // which has none, as in older versions
		suffix = binary.BigEndian.AppendUint32([]byte{0}, uint32(shape.Salt))
		suffix = binary.BigEndian.AppendUint32(suffix, shape.Iterations)
	}
	sum := keyedHash(secret, "salt\x00", user, suffix)
	salt := sum
	for len(salt) < shape.Salt {
		salt = append(salt, keyedHash(secret, "more\x00", user, salt[len(salt)-sha256.Size:])...)
	}
	return protocol.Credentials{
		Salt: salt[:shape.Salt:shape.Salt], Iterations: int(shape.Iterations), StoredKey: sum, ServerKey: sum,
	}
}

// decoyShape chooses a shape by weighted rendezvous hashing: each shape has a
// share of the names in proportion to its accounts, and a name changes its
// shape only from one whose share has shrunk or to one whose share has grown.
func decoyShape(secret []byte, user protocol.Address, shapes []store.ShapeCount) store.VerifierShape {
	switch len(shapes) {
	case 0:
		return defaultShape
	case 1:
		return shapes[0].VerifierShape
	}
	seed := binary.BigEndian.Uint64(keyedHash(secret, "shape\x00", user, nil))
	best, least := shapes[0].VerifierShape, math.Inf(1)
	for _, s := range shapes {
		// Of exponential variables with these rates, each is the least one
		// with a probability in proportion to its rate.
		if arrival := -math.Log(uniform(seed, s.VerifierShape)) / float64(s.Accounts); arrival < least {
			best, least = s.VerifierShape, arrival
		}
	}
	return best
}

// uniform maps a name's seed and a shape to a number above 0 and below 1, as
// evenly as SplitMix64 (Steele, Lea, Flood 2014) mixes.
func uniform(seed uint64, s store.VerifierShape) float64 {
	x := seed
	for _, v := range [...]uint64{uint64(s.Salt)<<32 | uint64(s.Iterations), 0} {
		x ^= v
		x += 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		x ^= x >> 31
	}
	return (float64(x>>11) + 0.5) / (1 << 53)
}

func keyedHash(secret []byte, use string, user protocol.Address, suffix []byte) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(use))
	mac.Write([]byte(user.String()))
	mac.Write(suffix)
	return mac.Sum(nil)
}
