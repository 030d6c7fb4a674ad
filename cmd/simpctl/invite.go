package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"simpd/cmd/internal/cli"
	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol"
)

const inviteLong = `Invite makes an invitation, and prints a link to the web chat and a code. Whoever
has one of them can create an account: in the web chat, or with "simp join CODE".
The code is shown nowhere else; the site keeps only a hash of it.

    simpctl invite
    simpctl invite --uses 30 --expires 14d --contact treasurer@example.com
    simpctl invite list
    simpctl invite remove 1042

With --contact, each new user gets that address as a contact. If it is a user
of this site, that user gets the new users as contacts, too.`

// inviteFlags are the flags of invite.
type inviteFlags struct {
	domain, expires, contact, linkBase string
	uses                               uint32
}

func (a *app) inviteCommand() *cobra.Command {
	var flags inviteFlags
	var domain string
	list := &cobra.Command{
		Use: "list", Short: "List the invitations that can be used", Args: cli.ArgumentCount(0, 0, "no argument"),
		RunE: func(c *cobra.Command, _ []string) error { return a.listInvitations(c.Context(), domain) },
	}
	list.Flags().StringVar(&domain, "domain", "", "only invitations for this `DOMAIN`")
	remove := &cobra.Command{
		Use: "remove ID", Short: "Revoke an invitation", Args: cli.ArgumentCount(1, 1, "the id that invite list shows"),
		Long: "Remove revokes an invitation. The accounts that it created stay.",
		RunE: func(c *cobra.Command, args []string) error { return a.removeInvitation(c.Context(), args[0]) },
	}
	group := cli.CommandGroup("invite", "Let people create their own accounts", inviteLong, list, remove)
	unknown := group.RunE
	group.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknown(c, args)
		}
		return a.createInvitation(c.Context(), flags)
	}
	f := group.Flags()
	f.Uint32Var(&flags.uses, "uses", 1, "how many accounts it may create")
	f.StringVar(&flags.expires, "expires", "7d", "how long it can be used: a `DURATION` such as 14d or 12h")
	f.StringVar(&flags.contact, "contact", "", "an `IMA` that each new user gets as a contact")
	f.StringVar(&flags.domain, "domain", "", "the `DOMAIN` of the accounts, if it is not the site's first")
	f.StringVar(&flags.linkBase, "link-base", "", "the `URL` of the web chat, if it is not the one that the site is configured with")
	return group
}

// request returns the request that the flags ask for.
func (f inviteFlags) request() (*simpv1.CreateInvitationRequest, error) {
	life, err := parseLife(f.expires)
	if err != nil {
		return nil, err
	}
	if f.uses == 0 || f.uses > protocol.MaxInvitationUses {
		return nil, cli.UsageErrorf("invalid --uses %d: must be 1 to %d", f.uses, protocol.MaxInvitationUses)
	}
	if f.contact != "" {
		if _, err := parseUser(f.contact); err != nil {
			return nil, fmt.Errorf("--contact: %w", err)
		}
	}
	if f.linkBase != "" {
		if err := checkLinkBase(f.linkBase); err != nil {
			return nil, err
		}
	}
	return &simpv1.CreateInvitationRequest{Domain: f.domain, Uses: f.uses, Expires: durationpb.New(life), Contact: f.contact}, nil
}

// parseLife parses a duration, which may also be a number of days.
func parseLife(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	life, err := time.ParseDuration(s)
	if err != nil {
		return 0, cli.UsageErrorf("invalid --expires %q: must be a duration such as 14d or 12h", s)
	}
	return life, nil
}

func checkLinkBase(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return cli.UsageErrorf("invalid --link-base %q: must be the address of the web chat, such as https://chat.example.com", s)
	}
	return nil
}

func (a *app) createInvitation(ctx context.Context, flags inviteFlags) error {
	r, err := flags.request()
	if err != nil {
		return err
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.invitations.Create, r)
	if err != nil {
		return err
	}
	if flags.linkBase != "" {
		resp.Link = protocol.InvitationLink(flags.linkBase, resp.Code)
	}
	if a.printsJSON() {
		return a.writeError(a.printJSON(resp))
	}
	_, err = fmt.Fprintln(cli.NewEscaper(a.out), describeInvitation(resp))
	return a.writeError(err)
}

// describeInvitation says what to give to whom.
func describeInvitation(r *simpv1.CreateInvitationResponse) string {
	i := r.Invitation
	text := fmt.Sprintf("invitation %d for %s: %s, until %s\n\n", i.GetId(), i.GetDomain(), pluralize(uint64(i.GetUses()), "account"),
		i.GetUntil().AsTime().Local().Format("2006-01-02 15:04"))
	if r.Link != "" {
		text += fmt.Sprintf("  link  %s\n", r.Link)
	}
	text += fmt.Sprintf("  code  %s", r.Code)
	if r.Link == "" {
		text += "\n\nThere is no link, as the site is not configured with the address of its web chat: set\n" +
			"web_address, or give --link-base. The code works in a terminal: simp join CODE"
	}
	return text
}

func (a *app) listInvitations(ctx context.Context, domain string) error {
	s, err := a.connect()
	if err != nil {
		return err
	}
	all := &simpv1.ListInvitationsResponse{}
	err = eachPage(func(token string) (string, error) {
		resp, err := unaryCall(ctx, s.invitations.List, &simpv1.ListInvitationsRequest{Domain: domain, PageSize: pageSize, PageToken: token})
		if err != nil {
			return "", err
		}
		all.Invitation, all.Position = append(all.Invitation, resp.Invitation...), resp.Position
		return resp.NextPageToken, nil
	})
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printJSON(all)
	}
	t := &table{head: []string{"ID", "DOMAIN", "USED", "MADE", "UNTIL", "CONTACT", "BY"}}
	for _, i := range all.Invitation {
		t.rows = append(t.rows, plainCells(strconv.FormatUint(i.Id, 10), i.Domain, fmt.Sprintf("%d of %d", i.Used, i.Uses),
			formatIfSet(i.Created, "2006-01-02 15:04"), formatIfSet(i.Until, "2006-01-02 15:04"), dashIfEmpty(i.Contact), dashIfEmpty(i.By)))
	}
	return a.printTable(t)
}

func (a *app) removeInvitation(ctx context.Context, id string) error {
	number, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return cli.UsageErrorf("%q is not the id of an invitation; invite list shows them", id)
	}
	s, err := a.connect()
	if err != nil {
		return err
	}
	resp, err := unaryCall(ctx, s.invitations.Remove, &simpv1.RemoveInvitationRequest{Id: number})
	if err != nil {
		return err
	}
	return a.printSentence(resp, "the invitation %d is revoked", number)
}
