package federation

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"sync"
	"testing"
	"time"

	"simpd/protocol"
	"simpd/protocol/signature"
)

// A KEYS whose time is over is answered while its lines still come in: the
// answer, which is made without the lock, does not look at them.
func TestLateAnswerDoesNotLookAtArrivingKeys(t *testing.T) {
	public := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)
	var line protocol.Line
	text := fmt.Sprintf("1 100 kid=%s key=%s created=2026-11-30T12:00:00Z record=1 index=7", signature.KeyID(public), base64.StdEncoding.EncodeToString(public))
	if err := protocol.ParseLine(text, &line); err != nil {
		t.Fatal(err)
	}
	var got keyAnswer
	e := newKeysRequest(protocol.KeysRequest{}, time.Now(), func(a keyAnswer) { got = a })
	var wg sync.WaitGroup
	wg.Go(func() { e.done(s2sResponse{}) })
	if !e.addPartial(&line) || len(e.keys) != 1 {
		t.Errorf("%d keys were recorded", len(e.keys))
	}
	wg.Wait()
	if got.err == nil || len(got.keys) > 0 {
		t.Errorf("got %+v", got)
	}
}
