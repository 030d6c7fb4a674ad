package client

import (
	"context"
	"slices"

	"simpd/protocol"
	"simpd/protocol/internal/outbound"
)

// Watch delivers the presence of addresses to Config.OnPresence, now and at
// each change, on this and all later connections (SIMP.md, section 7). It
// returns the present presences.
func (c *Client) Watch(ctx context.Context, addresses ...protocol.Address) ([]protocol.Presence, error) {
	var all []protocol.Presence
	for _, some := range splitToLines(addresses) {
		r := c.presenceRequest("WATCH", some, "")
		partial, _, err := c.updateDesired(ctx, r, func(w *desiredState) { w.add(some) })
		if err != nil {
			return all, err
		}
		all = append(all, parsePresences(partial)...)
	}
	return all, nil
}

// WatchContacts watches all of the user's contacts as they are now. Who becomes a
// contact through a group later is watched, too.
func (c *Client) WatchContacts(ctx context.Context) ([]protocol.Presence, error) {
	r := c.presenceRequest("WATCH", nil, contactsFlag)
	partial, _, err := c.updateDesired(ctx, r, func(w *desiredState) { w.contacts = true })
	return parsePresences(partial), err
}

// Unwatch ends the watches of addresses; without any, of all.
func (c *Client) Unwatch(ctx context.Context, addresses ...protocol.Address) error {
	if len(addresses) == 0 {
		_, _, err := c.updateDesired(ctx, request{verb: "UNWATCH"}, func(w *desiredState) { w.watch, w.contacts = nil, false })
		c.removeShown(nil)
		return err
	}
	for _, some := range splitToLines(addresses) {
		_, _, err := c.updateDesired(ctx, request{verb: "UNWATCH", params: outbound.AppendAddresses(some)}, func(w *desiredState) { w.remove(some) })
		if err != nil {
			return err
		}
		c.removeShown(some)
	}
	return nil
}

// Query returns the presence of addresses. With fresh the answer reflects
// every change that the site had acknowledged before the request.
func (c *Client) Query(ctx context.Context, fresh bool, addresses ...protocol.Address) ([]protocol.Presence, error) {
	flag := ""
	if fresh {
		flag = "fresh"
	}
	var all []protocol.Presence
	for _, some := range splitToLines(addresses) {
		partial, _, err := c.roundTrip(ctx, request{verb: "QUERY", maxPartial: len(some), params: presenceParams(some, flag)})
		if err != nil {
			return all, err
		}
		all = append(all, parsePresences(partial)...)
	}
	return all, nil
}

// contactsFlag requests all of the user's contacts.
const contactsFlag = "contacts"

// presenceRequest returns a WATCH whose answer is delivered before the
// changes that follow it.
func (c *Client) presenceRequest(verb string, addresses []protocol.Address, flag string) request {
	due := len(addresses)
	if flag == contactsFlag {
		due += protocol.MaxContacts
	}
	return request{verb: verb, maxPartial: due, params: presenceParams(addresses, flag), apply: func(conn *conn, partial []response, final response) {
		c.onWatchAnswer(conn, parsePresences(partial), outbound.UintParam(&final.Line, "index"))
	}}
}

// watchRequests returns the WATCHes that restore the desired state.
func (c *Client) watchRequests(w desiredState) []request {
	var all []request
	for _, some := range splitToLines(w.watch) {
		all = append(all, c.presenceRequest("WATCH", some, ""))
	}
	if w.contacts {
		all = append(all, c.presenceRequest("WATCH", nil, contactsFlag))
	}
	return all
}

func presenceParams(addresses []protocol.Address, flag string) func([]byte) []byte {
	return func(b []byte) []byte {
		b = outbound.AppendAddresses(addresses)(b)
		if flag != "" {
			b = protocol.AppendParam(b, flag, "yes")
		}
		return b
	}
}

func parsePresences(partial []response) []protocol.Presence {
	var all []protocol.Presence
	for i := range partial {
		if p, ok := outbound.ParsePresence(&partial[i].Line); ok {
			all = append(all, p)
		}
	}
	return all
}

// splitToLines divides a list into parts that fit into a line.
func splitToLines(addresses []protocol.Address) [][]protocol.Address {
	return outbound.SplitToLines(addresses, 128, func(a protocol.Address) protocol.Address { return a })
}

func (w *desiredState) add(addresses []protocol.Address) {
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

func (w *desiredState) remove(addresses []protocol.Address) {
	w.watch = slices.DeleteFunc(slices.Clone(w.watch), func(a protocol.Address) bool {
		return slices.Contains(addresses, a)
	})
}

// removeShown forgets the last presence of addresses, so that they are
// delivered again if they are watched again; nil means all.
func (c *Client) removeShown(addresses []protocol.Address) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if addresses == nil {
		clear(c.lastShown)
	}
	for _, a := range addresses {
		delete(c.lastShown, a)
	}
}
