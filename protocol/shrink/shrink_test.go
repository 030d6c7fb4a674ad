package shrink

import (
	"runtime"
	"testing"
)

// A map that is empty again after a flood takes no room, keeps what it holds,
// and is copied seldom.
func TestAfterDelete(t *testing.T) {
	const entries, stay = 200_000, 10
	m, most, copies := map[int][4]int{}, 0, 0
	before := heapInUse()
	for i := range entries {
		m[i] = [4]int{i}
	}
	if grown := heapInUse() - before; grown < 4<<20 {
		t.Fatalf("the flood took %d octets: this shows nothing", grown)
	}
	for i := range entries - stay {
		delete(m, i)
		had := most
		m = AfterDelete(m, &most)
		if most < had {
			copies++
		}
	}
	if grown := heapInUse() - before; grown > 1<<20 {
		t.Errorf("%d octets are left of the flood", grown)
	}
	for i := entries - stay; i < entries; i++ {
		if m[i][0] != i {
			t.Errorf("entry %d is lost", i)
		}
	}
	if len(m) != stay || copies < 1 || copies > 6 {
		t.Errorf("%d entries after %d copies", len(m), copies)
	}
}

// A small map is never copied.
func TestAfterDeleteOfASmallMap(t *testing.T) {
	m, most := map[int]bool{}, 0
	for i := range keptRoom {
		m[i] = true
	}
	for i := range keptRoom {
		delete(m, i)
		AfterDelete(m, &most)
	}
	if most != keptRoom {
		t.Errorf("most is %d; want %d", most, keptRoom)
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
