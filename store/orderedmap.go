package store

import "github.com/tidwall/btree"

// orderedMap maps addresses to values, in two ways. The tree is ordered by
// address, and is copied in constant time. The hash map, which only the live
// table has and no copy, serves the look-ups that every message needs: with a
// million entries they take three times as long as with a thousand, and in
// the tree eight times.
type orderedMap[V any] struct {
	tree   *btree.Map[string, V]
	lookup map[string]V // nil in a copy
}

func newOrderedMap[V any]() orderedMap[V] {
	return orderedMap[V]{tree: new(btree.Map[string, V]), lookup: map[string]V{}}
}

// snapshot returns a copy that later calls of set and delete do not change.
// It marks the tree's nodes as shared, so it needs the write lock.
func (d *orderedMap[V]) snapshot() orderedMap[V] { return orderedMap[V]{tree: d.tree.Copy()} }

func (d *orderedMap[V]) get(address string) (V, bool) {
	if d.lookup == nil {
		return d.tree.Get(address)
	}
	v, ok := d.lookup[address]
	return v, ok
}

func (d *orderedMap[V]) set(address string, v V) {
	d.tree.Set(address, v)
	d.lookup[address] = v
}

func (d *orderedMap[V]) setAll(from *orderedMap[V]) {
	from.ascend("", func(address string, v V) bool {
		d.set(address, v)
		return true
	})
}

// load is set for addresses in ascending order, which is faster.
func (d *orderedMap[V]) load(address string, v V) {
	d.tree.Load(address, v)
	d.lookup[address] = v
}

func (d *orderedMap[V]) delete(address string) {
	d.tree.Delete(address)
	delete(d.lookup, address)
}

// ascend calls yield for each address from from on, in ascending order, until
// yield returns false.
func (d *orderedMap[V]) ascend(from string, yield func(address string, v V) bool) {
	d.tree.Ascend(from, yield)
}

func (d *orderedMap[V]) len() int { return d.tree.Len() }
