package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"simpd/protocol"
	"simpd/protocol/client"
)

// A program that answers to whoever writes to it, until it is interrupted.
func Example() {
	user, err := protocol.ParseAddress("echo@example.com")
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	c, err := client.Open(ctx, client.Config{
		User:     user,
		Password: "from a file, not from here",
		OnMessage: func(_ context.Context, m *protocol.Message) error {
			fmt.Printf("%s writes: %s\n", m.From, m.Entity)
			return nil // now the sender is told "delivered"
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Listen(ctx, protocol.ListenRequest{State: protocol.Available}); err != nil {
		log.Fatal(err)
	}
	<-c.Done()
}

// Only a 200 is a delivery. A message in doubt may be sent again under its id,
// which shows it once.
func ExampleClient_Send() {
	var c *client.Client // from Open
	bob, err := protocol.ParseAddress("bob@example.com")
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report, err := c.Send(ctx, client.Message{
		To:      []protocol.Address{bob},
		Entity:  client.Text("Lunch?"),
		Retries: 2,
	})
	if err != nil {
		log.Fatal(err) // the server did not get it
	}
	for _, r := range report.Results {
		switch {
		case r.Status == protocol.StatusOK:
			fmt.Println("delivered to", r.To)
		case r.Status == protocol.StatusIndeterminate:
			fmt.Println("nobody knows whether", r.To, "has it")
		default:
			fmt.Println("not delivered to", r.To, "because:", r.Text)
		}
	}
}

// Whoever is watched is told at once, and then at every change.
func ExampleClient_Watch() {
	var c *client.Client // from Open, with Config.OnPresence
	bob, err := protocol.ParseAddress("bob@example.com")
	if err != nil {
		log.Fatal(err)
	}
	now, err := c.Watch(context.Background(), bob)
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range now {
		fmt.Println(p.Address, "is", p.State)
	}
}

// The entity of a plain text has no header.
func ExampleText() {
	fmt.Printf("%q\n", client.Text("hello"))
	// Output: "\r\nhello"
}
