package api

import (
	"fmt"
	"strings"
	"time"

	"simpd/cluster/link/pki"
)

// role is a set of what a caller may do.
type role uint8

// The roles. Each method names those that may call it. Every caller who has a
// role also has known, and every caller at all has anyone.
const (
	presenceRead role = 1 << iota
	messageSend
	accountAdmin
	clusterAdmin
	clusterRead
	abuseAdmin
	known
	anyone

	allRoles = presenceRead | messageSend | accountAdmin | clusterAdmin | clusterRead | abuseAdmin
)

// roleNames are the roles as certificates and token files name them.
var roleNames = [...]struct {
	role role
	name string
}{
	{presenceRead, pki.RolePresenceRead},
	{messageSend, pki.RoleMessageSend},
	{accountAdmin, pki.RoleAccountAdmin},
	{clusterAdmin, pki.RoleClusterAdmin},
	{clusterRead, pki.RoleClusterRead},
	{abuseAdmin, pki.RoleAbuseAdmin},
	{known, "known"},
	{anyone, "anyone"},
}

// String names the roles of a set, any of which is enough for a method.
func (r role) String() string {
	var names []string
	for _, n := range roleNames {
		if r&n.role != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " or ")
}

// parseRole reads a role that can be given to somebody.
func parseRole(name string) (role, error) {
	for _, n := range roleNames {
		if n.name == name && n.role&allRoles != 0 {
			return n.role, nil
		}
	}
	return 0, fmt.Errorf("unknown role %q; the roles are %s", name, strings.Join(pki.AllRoles(), ", "))
}

// method holds the rules that apply to a method's calls.
type method struct {
	wants role // any one of these is enough
	audit bool // each call leaves a record
	// changes is set where a call that has failed may have done something.
	changes bool
	limit   time.Duration // of a call; 0: none
	idle    time.Duration // between the requests of a stream; 0: bodyTimeout
	slow    time.Duration // for a response to be taken; 0: slowTimeout
	// anyTime is set for what a node answers also while it has not caught up
	// with the site since its start, or is no part of it.
	anyTime bool
}

// How long calls may take.
const (
	callTimeout   = 2 * time.Minute // for one request and one response
	healthTimeout = 10 * time.Second
	reflectFor    = 10 * time.Minute
	uploadFor     = 6 * time.Hour
	uploadIdle    = 30 * time.Second
	backupFor     = time.Hour        // it keeps what has changed since
	watchSlow     = 10 * time.Minute // a watcher that does not read is told so if it reads again
)

// queryMethod is a method that changes nothing.
func queryMethod(wants role) method { return method{wants: wants, limit: callTimeout} }

// readMethod is a method that shows how the site is. clusterRead may call it too.
func readMethod(wants role) method { return queryMethod(wants | clusterRead) }

// changeMethod is a method that changes something.
func changeMethod(wants role) method {
	return method{wants: wants, audit: true, changes: true, limit: callTimeout}
}

// uploadMethod is a method whose requests are a stream, and that changes something.
func uploadMethod(wants role) method {
	return method{wants: wants, audit: true, changes: true, limit: uploadFor, idle: uploadIdle}
}

// methodTable is the one table of who may call what. What is not in it is
// refused to everyone.
func methodTable() map[string]method {
	reflection := method{wants: known, limit: reflectFor, idle: reflectFor, anyTime: true}
	return map[string]method{
		"/simp.v1.PresenceService/Get":   readMethod(presenceRead),
		"/simp.v1.PresenceService/List":  readMethod(presenceRead),
		"/simp.v1.PresenceService/Watch": {wants: presenceRead | clusterRead, slow: watchSlow},

		// A message changes nothing in the site, and its traffic is not logged.
		"/simp.v1.MessageService/Send": {wants: messageSend, changes: true, limit: callTimeout},

		"/simp.v1.AccountService/Create":      changeMethod(accountAdmin),
		"/simp.v1.AccountService/Import":      uploadMethod(accountAdmin),
		"/simp.v1.AccountService/Delete":      changeMethod(accountAdmin),
		"/simp.v1.AccountService/Disable":     changeMethod(accountAdmin),
		"/simp.v1.AccountService/Enable":      changeMethod(accountAdmin),
		"/simp.v1.AccountService/SetPassword": changeMethod(accountAdmin),
		"/simp.v1.AccountService/Get":         readMethod(accountAdmin),
		"/simp.v1.AccountService/List":        readMethod(accountAdmin),

		"/simp.v1.AccountService/ListAppPasswords":  readMethod(accountAdmin),
		"/simp.v1.AccountService/RemoveAppPassword": changeMethod(accountAdmin),
		"/simp.v1.AccountService/ListKeys":          readMethod(accountAdmin),
		"/simp.v1.AccountService/RevokeKey":         changeMethod(accountAdmin),
		"/simp.v1.AccountService/CheckSources":      readMethod(accountAdmin),

		"/simp.v1.InviteService/Create": changeMethod(accountAdmin),
		"/simp.v1.InviteService/List":   readMethod(accountAdmin),
		"/simp.v1.InviteService/Remove": changeMethod(accountAdmin),

		"/simp.v1.BlockService/Add":    changeMethod(abuseAdmin),
		"/simp.v1.BlockService/Remove": changeMethod(abuseAdmin),
		"/simp.v1.BlockService/List":   readMethod(abuseAdmin),

		"/simp.v1.ReportService/List":    readMethod(abuseAdmin),
		"/simp.v1.ReportService/Get":     queryMethod(abuseAdmin),
		"/simp.v1.ReportService/Watch":   {wants: abuseAdmin | clusterRead, slow: watchSlow},
		"/simp.v1.ReportService/Resolve": changeMethod(abuseAdmin),

		"/simp.v1.ClusterService/Status":             {wants: clusterAdmin | clusterRead, limit: callTimeout, anyTime: true},
		"/simp.v1.ClusterService/Drain":              {wants: clusterAdmin, audit: true, changes: true},
		"/simp.v1.ClusterService/Undrain":            changeMethod(clusterAdmin),
		"/simp.v1.ClusterService/TransferLeadership": changeMethod(clusterAdmin),
		"/simp.v1.ClusterService/RemoveNode":         changeMethod(clusterAdmin),
		"/simp.v1.ClusterService/AdmitNode":          changeMethod(clusterAdmin),
		"/simp.v1.ClusterService/ListSessions":       readMethod(clusterAdmin),
		"/simp.v1.ClusterService/KickSession":        changeMethod(clusterAdmin),
		"/simp.v1.ClusterService/Backup":             {wants: clusterAdmin, audit: true, limit: backupFor},
		"/simp.v1.ClusterService/Restore":            uploadMethod(clusterAdmin),
		"/simp.v1.ClusterService/CheckDomain":        readMethod(clusterAdmin),
		"/simp.v1.ClusterService/CreateConsoleLink":  {wants: known, audit: true, limit: callTimeout},
		"/simp.v1.ClusterService/RevokeConsole":      changeMethod(clusterAdmin),

		// Whether a node is well, everybody may ask, but not keep asking for ever.
		"/grpc.health.v1.Health/Check": {wants: anyone, limit: healthTimeout, anyTime: true},
		"/grpc.health.v1.Health/List":  {wants: known, limit: callTimeout, anyTime: true},
		"/grpc.health.v1.Health/Watch": {wants: known, slow: watchSlow, anyTime: true},

		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      reflection,
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": reflection,
	}
}
