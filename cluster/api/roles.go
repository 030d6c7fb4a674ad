package api

import (
	"fmt"
	"strings"
)

// role is a set of what a caller may do.
type role uint8

// The roles. A method wants one of them; known is had by every caller who has
// any, and anyone by those who did not even say who they are.
const (
	presenceRead role = 1 << iota
	messageSend
	accountAdmin
	clusterAdmin
	known
	anyone

	allRoles = presenceRead | messageSend | accountAdmin | clusterAdmin
)

// roleNames are the roles as certificates and token files name them.
var roleNames = [...]struct {
	role role
	name string
}{
	{presenceRead, "presence:read"},
	{messageSend, "message:send"},
	{accountAdmin, "account:admin"},
	{clusterAdmin, "cluster:admin"},
	{known, "known"},
	{anyone, "anyone"},
}

func (r role) String() string {
	var names []string
	for _, n := range roleNames {
		if r&n.role != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, " ")
}

// parseRole reads a role that can be given to somebody.
func parseRole(name string) (role, error) {
	for _, n := range roleNames {
		if n.name == name && n.role&allRoles != 0 {
			return n.role, nil
		}
	}
	return 0, fmt.Errorf("%q is no role; the roles are presence:read, message:send, account:admin and cluster:admin", name)
}

// method is what there is to know of a method before it is called.
type method struct {
	wants role
	audit bool // it changes something: each call leaves a record
	// anyTime is set for what a node answers also while it has not caught up
	// with the site since its start, or is no part of it.
	anyTime bool
}

// methods is the one table of who may call what. What is not in it is
// refused to everyone.
func methods() map[string]method {
	return map[string]method{
		"/simp.v1.PresenceService/Get":   {wants: presenceRead},
		"/simp.v1.PresenceService/List":  {wants: presenceRead},
		"/simp.v1.PresenceService/Watch": {wants: presenceRead},

		// A message changes nothing in the site, and its traffic is not logged.
		"/simp.v1.MessageService/Send": {wants: messageSend},

		"/simp.v1.AccountService/Create":      {wants: accountAdmin, audit: true},
		"/simp.v1.AccountService/Import":      {wants: accountAdmin, audit: true},
		"/simp.v1.AccountService/Delete":      {wants: accountAdmin, audit: true},
		"/simp.v1.AccountService/Disable":     {wants: accountAdmin, audit: true},
		"/simp.v1.AccountService/Enable":      {wants: accountAdmin, audit: true},
		"/simp.v1.AccountService/SetPassword": {wants: accountAdmin, audit: true},
		"/simp.v1.AccountService/Get":         {wants: accountAdmin},
		"/simp.v1.AccountService/List":        {wants: accountAdmin},

		"/simp.v1.ClusterService/Status":             {wants: clusterAdmin, anyTime: true},
		"/simp.v1.ClusterService/Drain":              {wants: clusterAdmin, audit: true},
		"/simp.v1.ClusterService/Undrain":            {wants: clusterAdmin, audit: true},
		"/simp.v1.ClusterService/TransferLeadership": {wants: clusterAdmin, audit: true},
		"/simp.v1.ClusterService/RemoveNode":         {wants: clusterAdmin, audit: true},
		"/simp.v1.ClusterService/AdmitNode":          {wants: clusterAdmin, audit: true},
		"/simp.v1.ClusterService/ListSessions":       {wants: clusterAdmin},
		"/simp.v1.ClusterService/KickSession":        {wants: clusterAdmin, audit: true},
		"/simp.v1.ClusterService/Backup":             {wants: clusterAdmin, audit: true},
		"/simp.v1.ClusterService/Restore":            {wants: clusterAdmin, audit: true},
		"/simp.v1.ClusterService/CheckDomain":        {wants: clusterAdmin},

		"/grpc.health.v1.Health/Check": {wants: anyone, anyTime: true},
		"/grpc.health.v1.Health/List":  {wants: anyone, anyTime: true},
		"/grpc.health.v1.Health/Watch": {wants: anyone, anyTime: true},

		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo":      {wants: known, anyTime: true},
		"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": {wants: known, anyTime: true},
	}
}
