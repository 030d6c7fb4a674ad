package signature

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
)

// Errors of CheckKey.
var (
	ErrKeySize       = errors.New("a public key has 32 octets")
	ErrKeyNotAPoint  = errors.New("the public key is not a point of the curve Ed25519 in its canonical form (RFC 8032, section 5.1.3)")
	ErrKeySmallOrder = errors.New("the public key has small order: it would verify signatures that nobody made")
)

// The field prime 2^255-19 and the curve's constant d (RFC 8032, section 5.1).
var (
	fieldPrime = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	curveD     = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), fieldPrime)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), fieldPrime)
	}()
	// smallOrderY are the y coordinates of the eight points of small order:
	// two of them share each of the last two.
	smallOrderY = []*big.Int{
		big.NewInt(0),
		big.NewInt(1),
		new(big.Int).Sub(fieldPrime, big.NewInt(1)),
		littleEndian("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
		littleEndian("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
	}
)

// littleEndian reads 32 octets in hexadecimal, the lowest first.
func littleEndian(hexadecimal string) *big.Int {
	n, ok := new(big.Int).SetString(hexadecimal, 16)
	if !ok {
		panic("signature: invalid constant " + hexadecimal)
	}
	return fromLittleEndian(n.FillBytes(make([]byte, ed25519.PublicKeySize)))
}

func fromLittleEndian(b []byte) *big.Int {
	reversed := make([]byte, len(b))
	for i, octet := range b {
		reversed[len(b)-1-i] = octet
	}
	return new(big.Int).SetBytes(reversed)
}

// CheckKey reports why key cannot be a device's public key: it has the wrong
// length, is not a point of the curve in canonical form, or has small order.
func CheckKey(key []byte) error {
	if len(key) != ed25519.PublicKeySize {
		return ErrKeySize
	}
	octets := append([]byte(nil), key...)
	octets[len(octets)-1] &= 0x7f // the sign of x
	y := fromLittleEndian(octets)
	if y.Cmp(fieldPrime) >= 0 || !isOnCurve(y) {
		return ErrKeyNotAPoint
	}
	for _, small := range smallOrderY {
		if y.Cmp(small) == 0 {
			return ErrKeySmallOrder
		}
	}
	return nil
}

// isOnCurve reports whether the curve has a point with this y: whether
// x² = (y²-1)/(dy²+1) has a solution.
func isOnCurve(y *big.Int) bool {
	one := big.NewInt(1)
	ySquare := new(big.Int).Mul(y, y)
	numerator := new(big.Int).Sub(ySquare, one)
	denominator := new(big.Int).Mul(curveD, ySquare)
	denominator.Add(denominator, one)
	// a/b is a square exactly if a·b is.
	product := numerator.Mul(numerator, denominator)
	return big.Jacobi(product.Mod(product, fieldPrime), fieldPrime) >= 0
}

// KeyIDLength is the number of characters of a key's name.
const KeyIDLength = 43

// KeyID returns the name of a public key: its thumbprint (RFC 7638, with
// SHA-256) as a JSON Web Key (RFC 8037), in base64url without padding, 43
// characters.
func KeyID(key ed25519.PublicKey) string {
	jwk := `{"crv":"Ed25519","kty":"OKP","x":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`
	sum := sha256.Sum256([]byte(jwk))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// fingerprintChars is the number of characters in a fingerprint: 100 bits,
// which nobody can match by trying keys.
const fingerprintChars = 20

// fingerprintAlphabet has no characters that people mistake for one another.
const fingerprintAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// Fingerprint returns the short form of a key's name that two people compare,
// in five groups of four characters, such as "k3v8-0q2m-w7za-91td-6xpe". It
// returns "" for a name that is not that of a key.
func Fingerprint(keyID string) string {
	sum, err := base64.RawURLEncoding.Strict().DecodeString(keyID)
	if err != nil || len(keyID) != base64.RawURLEncoding.EncodedLen(sha256.Size) || len(sum) != sha256.Size {
		return ""
	}
	var b strings.Builder
	bits := new(big.Int).SetBytes(sum)
	bits.Rsh(bits, uint(8*len(sum)-5*fingerprintChars))
	for i := range fingerprintChars {
		if i > 0 && i%4 == 0 {
			b.WriteByte('-')
		}
		digit := new(big.Int).Rsh(bits, uint(5*(fingerprintChars-1-i)))
		b.WriteByte(fingerprintAlphabet[digit.Uint64()&31])
	}
	return b.String()
}
