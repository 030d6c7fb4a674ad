package client

import (
	"context"
	"slices"

	"simpd/protocol"
)

// Watch has the presence of addresses told to Config.OnPresence, now and at
// every change, on this and all later connections (SIMP.md, section 7). It
// returns what they are now.
func (c *Client) Watch(ctx context.Context, addresses ...protocol.Address) ([]protocol.Presence, error) {
	var all []protocol.Presence
	for _, some := range chunks(addresses) {
		r := c.presenceRequest("WATCH", some, "")
		partial, _, err := c.arrange(ctx, r, func(w *want) { w.add(some) })
		if err != nil {
			return all, err
		}
		all = append(all, presences(partial)...)
	}
	return all, nil
}

// WatchContacts watches all of the user's contacts, as they are at that time.
func (c *Client) WatchContacts(ctx context.Context) ([]protocol.Presence, error) {
	r := c.presenceRequest("WATCH", nil, contactsFlag)
	partial, _, err := c.arrange(ctx, r, func(w *want) { w.contacts = true })
	return presences(partial), err
}

// Unwatch ends watching addresses; none named: all.
func (c *Client) Unwatch(ctx context.Context, addresses ...protocol.Address) error {
	if len(addresses) == 0 {
		_, _, err := c.arrange(ctx, request{verb: "UNWATCH"}, func(w *want) { w.watch, w.contacts = nil, false })
		c.forgetShown(nil)
		return err
	}
	for _, some := range chunks(addresses) {
		_, _, err := c.arrange(ctx, request{verb: "UNWATCH", params: appendAddresses(some)}, func(w *want) { w.remove(some) })
		if err != nil {
			return err
		}
		c.forgetShown(some)
	}
	return nil
}

// Query returns the presence of addresses, once. With fresh it holds every
// change that the site had acknowledged when it was asked.
func (c *Client) Query(ctx context.Context, fresh bool, addresses ...protocol.Address) ([]protocol.Presence, error) {
	flag := ""
	if fresh {
		flag = "fresh"
	}
	var all []protocol.Presence
	for _, some := range chunks(addresses) {
		partial, _, err := c.ask(ctx, request{verb: "QUERY", due: len(some), params: presenceParams(some, flag)})
		if err != nil {
			return all, err
		}
		all = append(all, presences(partial)...)
	}
	return all, nil
}

// contactsFlag has all of the user's contacts watched.
const contactsFlag = "contacts"

// presenceRequest makes a WATCH whose answer is told before the changes that
// follow it.
func (c *Client) presenceRequest(verb string, addresses []protocol.Address, flag string) request {
	due := len(addresses)
	if flag == contactsFlag {
		due += protocol.MaxContacts
	}
	return request{verb: verb, due: due, params: presenceParams(addresses, flag), apply: func(conn *conn, partial []response, final response) {
		c.answer(conn, presences(partial), uintParam(&final.Line, "index"))
	}}
}

// watchRequests makes the WATCHes for all that is wanted.
func (c *Client) watchRequests(w want) []request {
	var all []request
	for _, some := range chunks(w.watch) {
		all = append(all, c.presenceRequest("WATCH", some, ""))
	}
	if w.contacts {
		all = append(all, c.presenceRequest("WATCH", nil, contactsFlag))
	}
	return all
}

func presenceParams(addresses []protocol.Address, flag string) func([]byte) []byte {
	return func(b []byte) []byte {
		b = appendAddresses(addresses)(b)
		if flag != "" {
			b = protocol.AppendParam(b, flag, "yes")
		}
		return b
	}
}

func appendAddresses(addresses []protocol.Address) func([]byte) []byte {
	return func(b []byte) []byte {
		for _, a := range addresses {
			b = protocol.AppendParam(b, "ima", a.String())
		}
		return b
	}
}

func presences(partial []response) []protocol.Presence {
	var all []protocol.Presence
	for i := range partial {
		if p, ok := presenceOf(&partial[i].Line); ok {
			all = append(all, p)
		}
	}
	return all
}

// chunks cuts a list into pieces that fit a line.
func chunks(addresses []protocol.Address) [][]protocol.Address {
	const room = protocol.MaxLine - 128
	var all [][]protocol.Address
	start, used := 0, 0
	for i, a := range addresses {
		need := len(protocol.AppendParam(nil, "ima", a.String()))
		if used+need > room {
			all = append(all, addresses[start:i])
			start, used = i, 0
		}
		used += need
	}
	if start < len(addresses) {
		all = append(all, addresses[start:])
	}
	return all
}

func (w *want) add(addresses []protocol.Address) {
	known := make(map[protocol.Address]bool, len(w.watch))
	for _, a := range w.watch {
		known[a] = true
	}
	for _, a := range addresses {
		if !known[a] {
			known[a] = true
			w.watch = append(w.watch, a)
		}
	}
}

func (w *want) remove(addresses []protocol.Address) {
	w.watch = slices.DeleteFunc(slices.Clone(w.watch), func(a protocol.Address) bool {
		return slices.Contains(addresses, a)
	})
}

// forgetShown has addresses told anew if they are watched again; nil: all.
func (c *Client) forgetShown(addresses []protocol.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if addresses == nil {
		clear(c.shown)
	}
	for _, a := range addresses {
		delete(c.shown, a)
	}
}
