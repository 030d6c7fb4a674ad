package link

import (
	"testing"
	"time"

	clusterv1 "simpd/proto/simp/cluster/v1"
)

// says is the opinion of a node whose stream is open.
func says(index uint64, servers ...string) remoteView {
	return remoteView{connected: true, configuration: &clusterv1.Configuration{Index: index, Server: servers}}
}

var (
	mute    = remoteView{connected: true} // of a version that does not tell
	gone    = remoteView{}
	waiting = remoteView{isPending: true}
)

// TestJudge: n1 judges whom it may trust. Its own configuration has index 10.
func TestJudge(t *testing.T) {
	three, five := configuration(10, 1, 2, 3), configuration(10, 1, 2, 3, 4, 5)
	replica := configuration(10, 1, 2, 3, 4)
	delete(replica.Voters, "n1")
	type opinions = map[string]remoteView
	for _, tt := range []struct {
		name    string
		own     Configuration
		touched bool
		id      string
		of      opinions
		want    membershipVerdict
	}{
		{"a server, all agree", three, true, "n3", opinions{"n2": says(10, "n1", "n2", "n3")}, membershipVerdict{isMember: true}},
		{"a stranger", three, true, "n9", opinions{"n2": says(10, "n1", "n2", "n3")}, membershipVerdict{}},
		{"a server of three, nobody else reached", three, false, "n3", opinions{"n2": gone}, membershipVerdict{isMember: true}},
		{"the same, one may yet be heard", three, false, "n3", opinions{"n2": waiting}, membershipVerdict{isMember: true, isOpen: true}},
		{"removed while this one was away", three, false, "n3", opinions{"n2": says(11, "n1", "n2")}, membershipVerdict{}},
		{"removed, and in touch", three, true, "n3", opinions{"n2": says(11, "n1", "n2")}, membershipVerdict{}},
		{"denied by who is behind", three, false, "n3", opinions{"n2": says(9, "n1", "n2")}, membershipVerdict{isMember: true}},
		{"new, and this one is behind", three, false, "n4", opinions{"n2": says(11, "n1", "n2", "n3", "n4"), "n3": gone}, membershipVerdict{isMember: true}},
		{"new, by the word of who is behind", three, false, "n4", opinions{"n2": says(9, "n1", "n2", "n4"), "n3": gone}, membershipVerdict{}},
		{"new, by its own word", three, false, "n4", opinions{"n4": says(99, "n4"), "n2": waiting}, membershipVerdict{isOpen: true}},
		{"new, by the word of a stranger", three, false, "n4", opinions{"n5": says(99, "n1", "n4", "n5"), "n2": gone}, membershipVerdict{}},
		{"slandered by who was removed", three, false, "n2", opinions{"n3": says(99, "n3"), "n4": gone}, membershipVerdict{}},
		{"slandered, and one speaks for it", five, false, "n2",
			opinions{"n3": says(99, "n3"), "n4": says(11, "n1", "n2", "n4", "n5"), "n5": gone}, membershipVerdict{isMember: true}},
		{"praised by who was removed", five, false, "n9",
			opinions{"n3": says(99, "n3", "n9"), "n2": says(11, "n1", "n2", "n4", "n5"), "n4": says(11, "n1", "n2", "n4", "n5"), "n5": gone}, membershipVerdict{}},
		{"one of five, and no other is reached", five, false, "n3", opinions{"n2": gone, "n4": gone, "n5": gone}, membershipVerdict{}},
		{"one of five, and one more is reached", five, false, "n3", opinions{"n2": mute, "n4": gone, "n5": gone}, membershipVerdict{isMember: true}},
		{"one of five, in touch", five, true, "n3", opinions{"n2": gone, "n4": gone, "n5": gone}, membershipVerdict{isMember: true}},
		{"a replica, cut off", replica, false, "n3", opinions{"n2": gone, "n4": gone}, membershipVerdict{}},
		{"a replica, a voter agrees", replica, false, "n3", opinions{"n2": says(10, "n1", "n2", "n3", "n4"), "n4": gone}, membershipVerdict{isMember: true}},
	} {
		m := &membership{link: &Link{config: Config{NodeID: "n1"}}, inTouch: func() bool { return tt.touched }, known: true, own: tt.own}
		m.verdicts.Store(&verdicts{at: time.Now(), inTouchSince: time.Now().Add(-steadyAfter)})
		if got := m.judge(tt.id, tt.of); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

// TestJudgeWithoutAConfiguration: a node that is new believes everyone, unless
// others that are of a site deny it.
func TestJudgeWithoutAConfiguration(t *testing.T) {
	type opinions = map[string]remoteView
	for _, tt := range []struct {
		name    string
		removed bool
		of      opinions
		want    membershipVerdict
	}{
		{"nobody is known", false, nil, membershipVerdict{isMember: true}},
		{"nobody has a site", false, opinions{"n2": mute, "n3": gone}, membershipVerdict{isMember: true}},
		{"denied", false, opinions{"n2": says(5, "n2")}, membershipVerdict{}},
		{"denied by one of two", false, opinions{"n2": says(5, "n2"), "n4": says(5, "n3", "n4")}, membershipVerdict{}},
		{"denied by one of three", false, opinions{"n2": says(5, "n2"), "n4": says(5, "n3", "n4"), "n5": says(5, "n3")}, membershipVerdict{isMember: true}},
		{"its own word", false, opinions{"n3": says(5, "n3"), "n2": says(5, "n2")}, membershipVerdict{}},
		{"removed", true, nil, membershipVerdict{}},
	} {
		if got := judgeAsOutsider("n3", tt.removed, tt.of); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
