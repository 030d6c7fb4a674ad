package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"simpd/cluster/link/pki"
	"simpd/cmd/internal/cli"
)

const tlsInitLong = `Init makes what the nodes of a site and its programs need to authenticate: an
authority (ca.crt, ca.key), a certificate for each node and each service, and a
key for gossip. It makes only the files that do not exist yet, and never
overwrites one: run it again with the same --dir to add a node or a service. It
also makes a service "operator" with all roles for simpctl.

Each node needs ca.crt, its own pair and gossip.key. Only this command needs
ca.key; keep it away from the nodes.

    simpctl tls init --site example.com --node n1=n1.example.com --node n2=n2.example.com,10.0.0.2
    simpctl tls init --site example.com --service pager=message:send,as:@example.com

With no flag but --dir it makes them for three nodes, n1, n2 and n3, that programs
reach on their own machine only.`

func (a *app) tlsCommand() *cobra.Command {
	var order pki.Order
	var nodes, services []string
	init := &cobra.Command{
		Use: "init", Short: "Make a site's authority, certificates and gossip key", Long: tlsInitLong, Args: cli.ArgumentCount(0, 0, "no argument"),
		RunE: func(*cobra.Command, []string) error {
			fillOrder(&order, nodes, services)
			return a.makeTLS(order)
		},
	}
	f := init.Flags()
	f.StringVar(&order.Dir, "dir", "tls", "the `FOLDER` for the files")
	f.StringVar(&order.Site, "site", "", "the site's `NAME`, the same for all nodes: its first domain is a good one (default: that of the authority in --dir)")
	f.StringArrayVar(&nodes, "node", nil, "a node: `ID[=HOST,…]`, with the names and addresses at which programs reach it; may be repeated")
	f.StringArrayVar(&services, "service", nil, "a program: `NAME=ROLE,…`; a role may be as:IMA or as:@domain, whom it may send as; may be repeated")
	f.DurationVar(&order.Lifetime, "lifetime", 365*24*time.Hour, "how long the certificates are valid")
	return cli.CommandGroup("tls", "Make certificates and keys", "", init)
}

func fillOrder(o *pki.Order, nodes, services []string) {
	if o.Site == "" && len(nodes)+len(services) == 0 {
		nodes = []string{"n1", "n2", "n3"}
	}
	o.Services = []pki.ServiceOrder{{Name: "operator", Roles: pki.AllRoles()}}
	for _, n := range nodes {
		id, hosts, _ := strings.Cut(n, "=")
		o.Nodes = append(o.Nodes, pki.NodeOrder{ID: id, Hosts: splitList(hosts)})
	}
	for _, text := range services {
		name, roles, _ := strings.Cut(text, "=")
		s := pki.ServiceOrder{Name: name}
		for _, role := range splitList(roles) {
			if as, ok := strings.CutPrefix(role, "as:"); ok {
				s.As = append(s.As, as)
			} else {
				s.Roles = append(s.Roles, role)
			}
		}
		o.Services = append(o.Services, s)
	}
}

func splitList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func (a *app) makeTLS(o pki.Order) error {
	made, err := pki.Make(o)
	if err != nil {
		return err
	}
	if a.printsJSON() {
		return a.printStruct(struct {
			Made []string `json:"made"`
		}{append([]string{}, made...)})
	}
	if len(made) == 0 {
		fmt.Fprintf(a.out, "all files already exist in %s\n", cli.Escape(o.Dir))
	}
	for _, file := range made {
		fmt.Fprintf(a.out, "made %s\n", cli.Escape(file))
	}
	return nil
}
