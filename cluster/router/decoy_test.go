package router

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"math"
	"testing"

	"simpd/protocol"
	"simpd/store"
)

func shapeCount(salt int, iterations uint32, accounts int) store.ShapeCount {
	return store.ShapeCount{VerifierShape: store.VerifierShape{Salt: salt, Iterations: iterations}, Accounts: accounts}
}

func decoyOf(i int, shapes []store.ShapeCount) protocol.Credentials {
	return decoyCredentials([]byte("secret"), addr(fmt.Sprintf("u%d@example.com", i)), shapes)
}

// Unknown users' salts and iterations are distributed as the accounts' are.
func TestDecoysAreDistributedAsAccounts(t *testing.T) {
	const names = 20_000
	shapes := []store.ShapeCount{shapeCount(12, 4096, 100), shapeCount(16, 10_000, 700), shapeCount(64, 100_000, 200)}
	got := map[store.VerifierShape]float64{}
	for i := range names {
		c := decoyOf(i, shapes)
		got[store.VerifierShape{Salt: len(c.Salt), Iterations: uint32(c.Iterations)}]++
	}
	for _, s := range shapes {
		want := names * float64(s.Accounts) / 1000
		if n := got[s.VerifierShape]; math.Abs(n-want) > 5*math.Sqrt(want) {
			t.Errorf("%d names have %+v, want about %.0f", int(n), s.VerifierShape, want)
		}
	}
}

// A decoy changes as rarely as can be when the accounts do, and then as an
// account does whose password is changed: the salt is another.
func TestDecoysAreSteady(t *testing.T) {
	const names = 20_000
	before := []store.ShapeCount{shapeCount(16, 4096, 600), shapeCount(16, 10_000, 400)}
	after := []store.ShapeCount{shapeCount(16, 4096, 500), shapeCount(16, 10_000, 500)}
	moved := 0
	for i := range names {
		a, b := decoyOf(i, before), decoyOf(i, after)
		if again := decoyOf(i, before); !bytes.Equal(a.Salt, again.Salt) || a.Iterations != again.Iterations {
			t.Fatal("a decoy differs from one call to the next")
		}
		switch {
		case a.Iterations == b.Iterations && !bytes.Equal(a.Salt, b.Salt):
			t.Fatal("a salt changed alone")
		case a.Iterations != b.Iterations && bytes.Equal(a.Salt, b.Salt):
			t.Fatal("the iterations changed alone")
		case a.Iterations < b.Iterations:
			moved++
		case a.Iterations > b.Iterations:
			t.Fatal("a decoy went to the shape that has become rarer")
		}
	}
	if moved < names/10-5*45 || moved > names/10+5*45 {
		t.Errorf("%d of %d decoys changed, want a tenth", moved, names)
	}
}

// Where all accounts are this project's, decoys are what older versions show.
func TestDecoysOfOlderVersions(t *testing.T) {
	user := addr("nobody@example.com")
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte("salt\x00nobody@example.com"))
	want := mac.Sum(nil)[:16]
	for _, shapes := range [][]store.ShapeCount{nil, {shapeCount(16, protocol.ScramIterations, 3)}} {
		if c := decoyCredentials([]byte("secret"), user, shapes); !bytes.Equal(c.Salt, want) || c.Iterations != protocol.ScramIterations {
			t.Errorf("%x with %d iterations", c.Salt, c.Iterations)
		}
	}
}

func TestDecoysHaveAnySaltLength(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range []int{1, 16, 31, 32, 33, 64, 65, 256} {
		c := decoyOf(1, []store.ShapeCount{shapeCount(n, 4096, 1)})
		if len(c.Salt) != n || len(c.StoredKey) != 32 || len(c.ServerKey) != 32 || seen[string(c.Salt[:1])] && n > 1 && seen[string(c.Salt)] {
			t.Errorf("%d octets: %x", n, c.Salt)
		}
		if n > 64 && bytes.Equal(c.Salt[:32], c.Salt[32:64]) {
			t.Errorf("the salt of %d octets repeats itself", n)
		}
		seen[string(c.Salt)] = true
	}
}

func BenchmarkDecoy(b *testing.B) {
	for name, shapes := range map[string][]store.ShapeCount{"one": {shapeCount(16, 10_000, 1)}, "many": manyShapes()} {
		user := addr("nobody@example.com")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				decoyCredentials([]byte("secret"), user, shapes)
			}
		})
	}
}

func manyShapes() (all []store.ShapeCount) {
	for i := range store.MaxShapes {
		all = append(all, shapeCount(16, uint32(4096+i), i+1))
	}
	return all
}
