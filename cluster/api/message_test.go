package api_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

	storev1 "simpd/proto/simp/store/v1"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

func TestSendTellsTheOutcomeOfEachRecipientInTheirOrder(t *testing.T) {
	s := newSite(t)
	resp, err := s.messages.Send(t.Context(), &simpv1.SendRequest{
		From: "Pager@example.com", To: []string{"Bob@example.com", "deaf@example.com", "bob@EXAMPLE.com", "x@elsewhere.example"},
		Id: "alarm-1", Entity: []byte("\r\nwake up"), Timeout: durationpb.New(5 * time.Second),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range resp.Outcome {
		got = append(got, fmt.Sprint(o.To, " ", o.Status))
	}
	if want := "[bob@example.com 200 deaf@example.com 480 x@elsewhere.example 200]"; resp.Id != "alarm-1" || fmt.Sprint(got) != want {
		t.Errorf("got %s %v, want %s", resp.Id, got, want)
	}
	sent := s.messenger.sent[0]
	if sent.From.String() != "pager@example.com" || !sent.Repeatable || string(sent.Entity) != "\r\nwake up" ||
		sent.Timeout != 5*time.Second || time.Since(sent.Received) > time.Minute {
		t.Errorf("the router got %+v", sent)
	}
}

func TestSendMakesAnIDAndATimeout(t *testing.T) {
	s := newSite(t)
	resp, err := s.messages.Send(t.Context(), &simpv1.SendRequest{From: "a@example.com", To: []string{"b@example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	sent := s.messenger.sent[0]
	if !protocol.ValidID(resp.Id) || sent.ID != resp.Id || sent.Repeatable || sent.Timeout != protocol.DefaultTimeout {
		t.Errorf("answered %q, sent %+v", resp.Id, sent)
	}
}

func TestSendErrorsNameTheField(t *testing.T) {
	s := newSite(t)
	good := func() *simpv1.SendRequest {
		return &simpv1.SendRequest{From: "a@example.com", To: []string{"b@example.com"}}
	}
	for field, spoil := range map[string]func(*simpv1.SendRequest){
		"from":    func(r *simpv1.SendRequest) { r.From = "a@elsewhere.example" },
		"to":      func(r *simpv1.SendRequest) { r.To = nil },
		"to[0]":   func(r *simpv1.SendRequest) { r.To = []string{"b"} },
		"id":      func(r *simpv1.SendRequest) { r.Id = "a b" },
		"entity":  func(r *simpv1.SendRequest) { r.Entity = make([]byte, 65537) },
		"timeout": func(r *simpv1.SendRequest) { r.Timeout = durationpb.New(61 * time.Second) },
	} {
		r := good()
		spoil(r)
		_, err := s.messages.Send(t.Context(), r)
		wantCode(t, err, codes.InvalidArgument, field)
	}
	short := good()
	short.Timeout = durationpb.New(999 * time.Millisecond)
	_, err := s.messages.Send(t.Context(), short)
	wantCode(t, err, codes.InvalidArgument, "timeout")
	many := good()
	for i := range 65 {
		many.To = append(many.To, fmt.Sprintf("u%d@example.com", i))
	}
	_, err = s.messages.Send(t.Context(), many)
	wantCode(t, err, codes.InvalidArgument, "to")
}

func TestAProgramSendsOnlyAsItMay(t *testing.T) {
	s := newSecured(t)
	pager := simpv1.NewMessageServiceClient(s.dial(t, s.dir, "service-pager"))
	for from, want := range map[string]codes.Code{
		"Pager@example.com": codes.OK, "anyone@example.org": codes.OK, "boss@example.com": codes.PermissionDenied,
	} {
		_, err := pager.Send(t.Context(), &simpv1.SendRequest{From: from, To: []string{"b@example.com"}})
		wantCode(t, err, want, "")
	}
	s.account("anyone@example.org")
	s.propose(&storev1.Change{Kind: &storev1.Change_SetDisabled{SetDisabled: &storev1.SetDisabled{Address: "anyone@example.org", Disabled: true}}})
	_, err := pager.Send(t.Context(), &simpv1.SendRequest{From: "anyone@example.org", To: []string{"b@example.com"}})
	wantCode(t, err, codes.PermissionDenied, "")
}
