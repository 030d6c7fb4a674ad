package store

import "github.com/tidwall/btree"

// directory is what the table knows of each of many addresses, kept in two
// ways. The tree is in the order of addresses, and is copied at once however
// big it is. The map, which only the living table has and no copy of it, is
// for the look-ups that every message takes: among a million they take three
// times as long as among a thousand, and in the tree eight times.
type directory[V any] struct {
	tree *btree.Map[string, V]
	fast map[string]V // nil in a copy
}

func newDirectory[V any]() directory[V] {
	return directory[V]{tree: new(btree.Map[string, V]), fast: map[string]V{}}
}

// copy returns the directory as it is now, which set and delete leave alone.
// It writes to the tree: from now on that copies what it changes.
func (d *directory[V]) copy() directory[V] { return directory[V]{tree: d.tree.Copy()} }

func (d *directory[V]) get(address string) (V, bool) {
	if d.fast == nil {
		return d.tree.Get(address)
	}
	v, ok := d.fast[address]
	return v, ok
}

func (d *directory[V]) set(address string, v V) {
	d.tree.Set(address, v)
	d.fast[address] = v
}

func (d *directory[V]) setAll(from *directory[V]) {
	from.ascend("", func(address string, v V) bool {
		d.set(address, v)
		return true
	})
}

// load is set for addresses that come in their order.
func (d *directory[V]) load(address string, v V) {
	d.tree.Load(address, v)
	d.fast[address] = v
}

func (d *directory[V]) delete(address string) {
	d.tree.Delete(address)
	delete(d.fast, address)
}

// ascend calls yield for each address that is not below from, in their order.
func (d *directory[V]) ascend(from string, yield func(address string, v V) bool) {
	d.tree.Ascend(from, yield)
}

func (d *directory[V]) len() int { return d.tree.Len() }
