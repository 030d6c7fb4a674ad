package doctor

import (
	"fmt"
	"strings"
	"time"

	simpv1 "simpd/proto/simp/v1"
)

// expiryUrgent is the time before its end at which a certificate becomes a problem and not only a hint.
const expiryUrgent = 7 * 24 * time.Hour

// examineExpiries finds certificates and tokens that end soon. What several nodes
// have is one finding.
func examineExpiries(nodes []*simpv1.NodeStatus, now time.Time) (all []Finding) {
	type key struct {
		kind     simpv1.ExpiryKind
		name, id string
	}
	of := map[key]int{}
	for _, n := range nodes {
		for _, e := range n.Expiring {
			k := key{e.Kind, e.Name, e.Id}
			if i, known := of[k]; known {
				all[i].About += ", " + n.Id
				continue
			}
			of[k] = len(all)
			all = append(all, expiryFinding(n.Id, e, now))
		}
	}
	return all
}

func expiryFinding(node string, e *simpv1.Expiry, now time.Time) Finding {
	what, mend := describeExpiry(node, e)
	end := e.NotAfter.AsTime()
	day := end.Format(time.DateOnly)
	switch left := end.Sub(now); {
	case left <= 0:
		return Finding{node, fmt.Sprintf("%s has ended, on %s", what, day), mend, false}
	case e.NotBefore != nil && now.Before(e.NotBefore.AsTime()):
		return Finding{node, fmt.Sprintf("%s is not valid before %s", what, e.NotBefore.AsTime().Format(time.RFC3339)),
			"look at the clock of that machine (timedatectl); otherwise replace it", false}
	default:
		return Finding{node, fmt.Sprintf("%s ends in %s, on %s", what, countDays(left), day), mend, left > expiryUrgent}
	}
}

func countDays(left time.Duration) string {
	switch days := int(left / (24 * time.Hour)); days {
	case 0:
		return "less than a day"
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", days)
	}
}

// describeExpiry says what ends, and how it is replaced.
func describeExpiry(node string, e *simpv1.Expiry) (what, mend string) {
	const page = "docs/operators/keys.md"
	switch e.Kind {
	case simpv1.ExpiryKind_EXPIRY_KIND_NODE:
		return "the node's certificate", fmt.Sprintf("remove node-%s.crt and node-%s.key where ca.key is, "+
			"simpctl tls init --node %s=HOST, copy the new pair, systemctl reload simpd: %s", node, node, node, page)
	case simpv1.ExpiryKind_EXPIRY_KIND_CLUSTER_CA:
		return "the authority of nodes and programs (" + e.Name + ")", "change over to a new one: " + page
	case simpv1.ExpiryKind_EXPIRY_KIND_SITE:
		return "the certificate for clients of " + e.Name, "have its issuer renew it, put it in the place of the old one, systemctl reload simpd: " + page
	case simpv1.ExpiryKind_EXPIRY_KIND_SITE_CA:
		return "the authority " + e.Name + " in the chain of a certificate for clients", "ask the issuer for the new chain, put it in the place of the old one, systemctl reload simpd: " + page
	case simpv1.ExpiryKind_EXPIRY_KIND_ACME:
		return "the certificate for clients of " + e.Name + ", which ACME renews,", "let the authority in: docs/operators/acme.md"
	case simpv1.ExpiryKind_EXPIRY_KIND_FEDERATION_CA:
		return "the authority " + e.Name + " in federation_ca", "put its successor into that file, or take it out, and systemctl reload simpd"
	case simpv1.ExpiryKind_EXPIRY_KIND_PROGRAM:
		return "the certificate of the program " + e.Name, fmt.Sprintf("remove service-%s.crt and service-%s.key where ca.key is, "+
			"simpctl tls init --service %s=ROLES, and give the program the new pair: %s", e.Name, e.Name, e.Name, page)
	case simpv1.ExpiryKind_EXPIRY_KIND_TOKEN:
		return "the token of the program " + e.Name + " (sha256:" + e.Id + "…)", "make another one (simpctl token make), or take its line out of token_file: " + page
	}
	return "the certificate of " + e.Name, "replace it: " + page
}

// examineCoverage compares the certificates for clients with the domains.
func examineCoverage(n *simpv1.NodeStatus) (all []Finding) {
	if len(n.UncoveredDomain) > 0 {
		all = append(all, Finding{n.Id, "none of its certificates names " + strings.Join(n.UncoveredDomain, ", ") + ": clients of these domains can't check it",
			"add a certificate for them to tls_cert and tls_key, and systemctl reload simpd", false})
	}
	for _, names := range n.ForeignCertificate {
		all = append(all, Finding{n.Id, "its certificate for " + names + " names none of the site's domains", "take it out of tls_cert, or add the domain", true})
	}
	return all
}
