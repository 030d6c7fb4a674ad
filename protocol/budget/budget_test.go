package budget

import (
	"sync"
	"testing"
)

const mib = 1 << 20

// fill reserves in steps until it is refused, and returns how much o holds.
func fill(o *Owner, step int) int64 {
	for o.Reserve(step) {
	}
	return o.Held()
}

func TestOwnerAloneGetsAQuarterOfWhatIsNotReserved(t *testing.T) {
	p := NewPool(64 * mib)
	if held := fill(p.NewOwner(), mib); held != 14*mib {
		t.Errorf("an owner alone holds %d MiB of 64, not 14", held/mib)
	}
	if p.Held() != 14*mib {
		t.Errorf("the pool counts %d", p.Held())
	}
}

func TestManyGreedyOwnersLeaveRoom(t *testing.T) {
	for _, greedy := range []int{1, 4, 64, 1000} {
		p := NewPool(256 * mib)
		for range greedy {
			fill(p.NewOwner(), 4096)
		}
		if !p.NewOwner().Reserve(smallHolding) {
			t.Errorf("beside %d greedy owners one that holds nothing is refused", greedy)
		}
		if p.Held() > p.Limit() {
			t.Errorf("%d greedy owners hold %d of %d", greedy, p.Held(), p.Limit())
		}
	}
}

func TestReserveIsForSmallHoldings(t *testing.T) {
	p := NewPool(64 * mib)
	p.NewOwner().Charge(56 * mib) // all but the reserve
	o := p.NewOwner()
	if o.Reserve(smallHolding + 1) {
		t.Error("a large holding is served from the reserve")
	}
	if !o.Reserve(smallHolding) {
		t.Error("a small holding is refused although the reserve is free")
	}
	p.NewOwner().Charge(8 * mib)
	if p.NewOwner().Reserve(1) {
		t.Error("an octet above the limit is served")
	}
}

func TestOverdrawn(t *testing.T) {
	p := NewPool(64 * mib)
	o, modest := p.NewOwner(), p.NewOwner()
	modest.Charge(smallHolding)
	o.Charge(13 * mib)
	if o.IsOverdrawn() {
		t.Error("13 MiB of 64 are within the share of one owner")
	}
	o.Charge(40 * mib)
	if !o.IsOverdrawn() || modest.IsOverdrawn() {
		t.Errorf("overdrawn: the greedy one %v, the modest one %v", o.IsOverdrawn(), modest.IsOverdrawn())
	}
	o.Release(53 * mib)
	if o.Held() != 0 || p.Held() != smallHolding {
		t.Errorf("after release %d and %d are held", o.Held(), p.Held())
	}
}

func TestTransfer(t *testing.T) {
	p := NewPool(mib)
	source, user := p.NewOwner(), p.NewOwner()
	source.Charge(100)
	user.Transfer(source, 100)
	if source.Held() != 0 || user.Held() != 100 || p.Held() != 100 {
		t.Errorf("held: %d, %d, %d", source.Held(), user.Held(), p.Held())
	}
}

func TestOwnersLiveWhileAcquired(t *testing.T) {
	owners := NewOwners[string](NewPool(mib))
	a, b := owners.Acquire("a"), owners.Acquire("a")
	if a != b || owners.Acquire("b") == a {
		t.Fatal("an owner is not found by its key")
	}
	owners.Drop("a")
	if owners.Acquire("a") != a {
		t.Error("an owner that is still acquired was forgotten")
	}
	owners.Drop("a")
	owners.Drop("a")
	owners.Drop("b")
	owners.Drop("b") // once too often
	if owners.Len() != 0 {
		t.Errorf("%d owners are left", owners.Len())
	}
}

func TestSharedCountsOnceInThePool(t *testing.T) {
	p := NewPool(64 * mib)
	s := NewShared(mib)
	a, b := p.NewOwner(), p.NewOwner()
	for _, o := range []*Owner{a, a, b} {
		if !s.Reserve(o) {
			t.Fatal("refused")
		}
	}
	if p.Held() != mib || a.Held() != mib || b.Held() != mib {
		t.Errorf("held: pool %d, owners %d and %d", p.Held(), a.Held(), b.Held())
	}
	s.Release(a)
	s.Release(b)
	if p.Held() != mib || a.Held() != mib || b.Held() != 0 {
		t.Errorf("after two releases: pool %d, owners %d and %d", p.Held(), a.Held(), b.Held())
	}
	s.Release(a)
	s.Release(a) // once too often
	if p.Held() != 0 || a.Held() != 0 {
		t.Errorf("at the end: pool %d, owner %d", p.Held(), a.Held())
	}
}

func TestSharedRefusedAboveTheShare(t *testing.T) {
	p := NewPool(64 * mib)
	o := p.NewOwner()
	o.Charge(13 * mib)
	if s := NewShared(2 * mib); s.Reserve(o) {
		t.Error("2 MiB above the share are served")
	}
	if o.Held() != 13*mib || p.Held() != 13*mib {
		t.Errorf("a refusal is counted: %d, %d", o.Held(), p.Held())
	}
}

func TestConcurrentReservesAddUp(t *testing.T) {
	owners := NewOwners[int](NewPool(mib))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			o := owners.Acquire(i % 2)
			defer owners.Drop(i % 2)
			for range 1000 {
				if o.Reserve(4096) {
					o.Release(4096)
				}
			}
		})
	}
	all.Wait()
	if held := owners.pool.Held(); held != 0 || owners.Len() != 0 {
		t.Errorf("%d octets and %d owners are left", held, owners.Len())
	}
}
