package console

import (
	"fmt"
	"net/http"
	"slices"

	"google.golang.org/protobuf/proto"

	simpv1 "simpd/proto/simp/v1"
	"simpd/protocol/webchat"
)

// access says who may use a route.
type access uint8

// The kinds of access. The zero access is refused.
const (
	_          access = iota
	openAccess        // everybody: to sign in
	anyRole           // whoever has signed in
	byMethod          // whoever may call the route's method
)

// route is what the console does at one path.
type route struct {
	verb, path string
	access     access
	method     string // of gRPC, whose roles the route takes
	navigable  bool   // a link of another page may lead here
	serve      func(*request)
}

// Names of the methods whose roles routes take.
const (
	statusMethod  = simpv1.ClusterService_Status_FullMethodName
	accountsList  = simpv1.AccountService_List_FullMethodName
	accountGet    = simpv1.AccountService_Get_FullMethodName
	presenceWatch = simpv1.PresenceService_Watch_FullMethodName
	blocksList    = simpv1.BlockService_List_FullMethodName
	reportsList   = simpv1.ReportService_List_FullMethodName
)

// allRoutes returns the one table of routes. What is not in it is refused.
func allRoutes(files map[string]webchat.File) []*route {
	all := []*route{
		{verb: http.MethodGet, path: signInPath, access: openAccess, serve: getSignIn},
		{verb: http.MethodPost, path: signInPath, access: openAccess, serve: postSignIn},

		{verb: http.MethodGet, path: "/api/session", access: anyRole, serve: getSession},
		{verb: http.MethodPost, path: "/api/signout", access: anyRole, serve: signOut},

		read("/api/site", statusMethod, readSite),
		read("/api/domains", statusMethod, readDomains),
		read("/api/audit", statusMethod, readAudit),
		read("/api/users", accountsList, readUsers),
		read("/api/user", accountGet, readUser),
		read("/api/blocks", blocksList, readBlocks),
		read("/api/reports", reportsList, readReports),
		read("/api/report", reportsList, readReport),
		{verb: http.MethodGet, path: "/api/messages", access: byMethod, method: statusMethod, serve: getMessages},
		{verb: http.MethodGet, path: "/api/presence", access: byMethod, method: presenceWatch, serve: getPresence},

		{verb: http.MethodPost, path: "/api/node/drain", access: byMethod, method: simpv1.ClusterService_Drain_FullMethodName, serve: postDrain},
		{verb: http.MethodPost, path: "/api/node/undrain", access: byMethod, method: simpv1.ClusterService_Undrain_FullMethodName, serve: postUndrain},
		action("/api/leader/transfer", simpv1.ClusterService_TransferLeadership_FullMethodName, &simpv1.TransferLeadershipRequest{}, &simpv1.TransferLeadershipResponse{}),
		action("/api/user/kick", simpv1.ClusterService_KickSession_FullMethodName, &simpv1.KickSessionRequest{}, &simpv1.KickSessionResponse{}),
		action("/api/user/disable", simpv1.AccountService_Disable_FullMethodName, &simpv1.DisableAccountRequest{}, &simpv1.DisableAccountResponse{}),
		action("/api/user/enable", simpv1.AccountService_Enable_FullMethodName, &simpv1.EnableAccountRequest{}, &simpv1.EnableAccountResponse{}),
		action("/api/user/app/remove", simpv1.AccountService_RemoveAppPassword_FullMethodName, &simpv1.RemoveAppPasswordRequest{}, &simpv1.RemoveAppPasswordResponse{}),
		action("/api/user/key/revoke", simpv1.AccountService_RevokeKey_FullMethodName, &simpv1.RevokeKeyRequest{}, &simpv1.RevokeKeyResponse{}),
		action("/api/block/add", simpv1.BlockService_Add_FullMethodName, &simpv1.AddBlockRequest{}, &simpv1.AddBlockResponse{}),
		action("/api/block/remove", simpv1.BlockService_Remove_FullMethodName, &simpv1.RemoveBlockRequest{}, &simpv1.RemoveBlockResponse{}),
		action("/api/report/resolve", simpv1.ReportService_Resolve_FullMethodName, &simpv1.ResolveReportRequest{}, &simpv1.ResolveReportResponse{}),
		action("/api/domain/check", simpv1.ClusterService_CheckDomain_FullMethodName, &simpv1.CheckDomainRequest{}, &simpv1.CheckDomainResponse{}),
	}
	for path, file := range files {
		r := &route{verb: http.MethodGet, path: path, access: anyRole, navigable: path == "/", serve: func(q *request) { file.ServeHTTP(q.w, q.r) }}
		if path == signInStyle {
			r.access = openAccess
		}
		all = append(all, r)
	}
	return all
}

// action returns a route that calls a method with the request that the page
// sends. The gate checks the roles once more, and writes the audit log.
func action(path, method string, takes, gives proto.Message) *route {
	return &route{verb: http.MethodPost, path: path, access: byMethod, method: method, serve: func(q *request) {
		in, out := takes.ProtoReflect().New().Interface(), gives.ProtoReflect().New().Interface()
		err := q.decode(in)
		if err == nil {
			err = q.services().Invoke(q.r.Context(), method, in, out)
		}
		if err != nil {
			refuseCall(q.w, err)
			return
		}
		q.answerMessage(out)
	}}
}

// indexRoutes returns the routes by path and method. A route that says not who
// may use it, and a path that is there twice, are faults of the program.
func indexRoutes(all []*route) map[string]map[string]*route {
	index := map[string]map[string]*route{}
	for _, r := range all {
		if r.access == 0 || (r.access == byMethod) != (r.method != "") || index[r.path][r.verb] != nil {
			panic(fmt.Sprintf("console: the route %s %s", r.verb, r.path))
		}
		if index[r.path] == nil {
			index[r.path] = map[string]*route{}
		}
		index[r.path][r.verb] = r
	}
	return index
}

// methodsOf returns the methods of a path, in order.
func methodsOf(found map[string]*route) (all []string) {
	for verb := range found {
		all = append(all, verb)
	}
	slices.Sort(all)
	return all
}
