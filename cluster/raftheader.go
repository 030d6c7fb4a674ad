package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/hashicorp/raft"

	"simpd/cluster/link"
)

var (
	errOtherCluster = errors.New("one of the two has data with another cluster ID")
	errOtherProcess = errors.New("another process runs as that node")
)

// headerStamp marks this node's calls of Raft with the cluster ID and with
// this process, and checks the marks of the other nodes' calls.
type headerStamp struct {
	clusterID   func() string // carried by all calls
	incarnation uint64        // of this process
	processes   processTracker
}

// processTracker tracks which processes run as the nodes; see link.Link.
type processTracker interface {
	AcceptsRaftFrom(node string, incarnation uint64) bool
	ChecksIncarnation(node string) bool
}

// stamp puts the cluster ID into the header of an outgoing call, and
// the incarnation of this process if the other node's version accepts it.
func (s *headerStamp) stamp(to raft.ServerID, h raft.RPCHeader) raft.RPCHeader {
	word, takesIncarnation := s.clusterID(), s.processes.ChecksIncarnation(string(to))
	if word == "" && !takesIncarnation {
		return h
	}
	h.ID = append(append(bytes.Clone(h.ID), link.RaftIDEnd), word...)
	if takesIncarnation {
		h.ID = strconv.AppendUint(append(h.ID, link.RaftIDEnd), s.incarnation, 16)
	}
	return h
}

// check removes them from an incoming call, which must carry this
// cluster's ID and come from the process that runs as its node.
func (s *headerStamp) check(c raft.RPC) error {
	h := link.RaftHeader(c)
	if h == nil {
		return fmt.Errorf("a call of Raft that is not known: %T", c.Command)
	}
	id, marks, _ := bytes.Cut(h.ID, []byte{link.RaftIDEnd})
	word, number, _ := bytes.Cut(marks, []byte{link.RaftIDEnd})
	if string(word) != s.clusterID() {
		return errOtherCluster
	}
	incarnation, err := uint64(0), error(nil)
	if len(number) > 0 {
		incarnation, err = strconv.ParseUint(string(number), 16, 64)
	}
	if err != nil || !s.processes.AcceptsRaftFrom(string(id), incarnation) {
		return errOtherProcess
	}
	h.ID = id
	return nil
}
