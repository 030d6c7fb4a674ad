package main

import (
	"slices"
	"strings"

	"simpd/cluster/link/pki"
	"simpd/protocol/loglimit"
	"simpd/protocol/secretfile"
)

// reread holds what a running node has read again, or why that stays as it was.
type reread struct {
	what string
	err  error
}

// reloadConfig has the node read again what can be, and names what it could not
// take, and each setting that was changed and counts from the next start on.
func (s *service) reloadConfig() {
	s.systemd.reloading()
	defer s.systemd.ready()
	logger := loglimit.Unlimited(s.logger) // each is an answer
	conf, err := s.read()
	if err != nil {
		why := "reload failed: the configuration is wrong"
		if exitStatus(err) == exitFailure {
			why = "reload failed: the configuration can't be read now"
		}
		logger.Error(why, "error", err)
		failure := validText(err.Error())
		s.node.reloaded.Store(&failure)
		return
	}
	s.node.reloaded.Store(nil)
	s.level.Set(logLevel(conf.logLevel))
	s.node.leave.timeout.Store(int64(conf.drainTimeout))
	s.node.setLimits(conf.limits)
	taken := []string{"log level", "drain timeout", "limits"}
	for _, r := range s.node.Reload(conf) {
		if r.err != nil {
			logger.Error("reload failed, keeping previous value", "item", r.what, "error", r.err)
			failure := validText(r.what + ": " + r.err.Error())
			s.node.reloaded.Store(&failure)
			continue
		}
		taken = append(taken, r.what)
	}
	s.node.reviewCertificates()
	for _, o := range s.changedSettings(conf) {
		logger.Warn("changed setting takes effect at the next start", "setting", o.key(),
			"value", strings.Join(s.conf.as[o.name], ","), "new_value", strings.Join(conf.as[o.name], ","))
	}
	logger.Info("read again", "items", strings.Join(taken, ", "))
}

// changedSettings returns the settings that are not as they were when the node was
// started, and that it can't take while it runs.
func (s *service) changedSettings(conf *config) (all []option) {
	for _, o := range allOptions() {
		if !slices.Equal(s.conf.as[o.name], conf.as[o.name]) && !(o.reload && s.node.canReload(o.name, conf)) {
			all = append(all, o)
		}
	}
	return all
}

// canReload reports whether a running node can take this setting, which can be read
// again as such: not where it was started without what the setting is about,
// nor where it would have to go on without.
func (n *node) canReload(setting string, conf *config) bool {
	switch setting {
	case "tls-cert", "tls-key":
		return n.certificates != nil && len(n.conf.tlsCerts) > 0 && len(conf.tlsCerts) > 0
	case "user-ca":
		return n.userRoots.Load() != nil && conf.userCA != ""
	case "token-file":
		return n.tokens != nil && conf.tokens != ""
	case "cluster-ca", "cluster-cert", "cluster-key", "gossip-key-file":
		return n.identity != nil && !conf.insecure
	case "drain-timeout", "log-level", "limit", "accounts-file":
		return true
	}
	return n.partners != nil // all others are about other sites
}

// Reload reads certificates, keys, tokens and the rules for other sites again,
// from where conf says that they are. What can be read is used even where the
// rest can't.
func (n *node) Reload(conf *config) (all []reread) {
	if n.partners != nil {
		all = append(all, reread{"rules for other sites", n.reloadPartners(&conf.federation)})
	}
	all = append(all, reread{"account sources", n.setSources(conf.accounts)})
	if n.canReload("tls-cert", conf) {
		all = append(all, reread{"clients' certificates", n.certificates.ReloadFrom(conf.tlsCerts, conf.tlsKeys)})
	}
	if n.canReload("user-ca", conf) {
		all = append(all, reread{"authorities of users", n.reloadUserCA(conf.userCA)})
	}
	if n.canReload("token-file", conf) {
		all = append(all, reread{"tokens", n.tokens.ReloadFrom(conf.tokens)})
	}
	if n.canReload("cluster-ca", conf) {
		all = append(all,
			reread{"node's certificate", n.identity.ReloadFrom(conf.clusterCA, conf.clusterCert, conf.clusterKey)},
			reread{"gossip keys", n.reloadGossipKeys(conf.gossipKeys)})
	}
	return all
}

func (n *node) reloadUserCA(file string) error {
	authorities, err := secretfile.LoadAuthorities(file)
	if err == nil {
		n.setUserCA(authorities)
	}
	return err
}

func (n *node) reloadGossipKeys(file string) error {
	keys, err := pki.ReadGossipKeys(file)
	if err != nil {
		return err
	}
	if err := n.cluster.SetGossipKeys(keys); err != nil {
		return err
	}
	n.sealingKeys.Store(&keys)
	return nil
}
