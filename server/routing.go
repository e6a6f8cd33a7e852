package server

import (
	"maps"
	"slices"
	"strings"
)

// maxPathValues is how many segments of a path may be values.
const maxPathValues = 4

// pathValues are the segments of a path that stand for something, by the names
// that the route gives them. The zero value has none.
type pathValues struct {
	names  []string
	values [maxPathValues]string
}

// get returns the value of a name; empty when the route has none of that name.
func (v *pathValues) get(name string) string {
	for i, n := range v.names {
		if n == name {
			return v.values[i]
		}
	}
	return ""
}

// routeTable finds a route by the segments of a path, then by the method. A
// literal segment comes before one that stands for a value, so that
// P/resource_instances/action is no key's, and P/{key_id}/tags/action no tag's.
type routeTable struct {
	root    *routeNode
	largest int // most bytes of a body on any route
}

// routeNode is where the walk over a path stands after some of its segments.
type routeNode struct {
	literals map[string]*routeNode
	value    *routeNode              // for any other segment
	methods  map[string]*tabledRoute // nil: no route ends here
}

// tabledRoute is a route with the names of its values, in their order.
type tabledRoute struct {
	route
	names []string
}

func newRouteTable(routes []route) routeTable {
	t := routeTable{root: new(routeNode)}
	for _, r := range routes {
		t.add(r)
		t.largest = max(t.largest, r.body)
	}
	return t
}

// add puts a route into the tree. Two of one method and path, or a path with
// more values than there is room for, are a mistake in the table.
func (t routeTable) add(r route) {
	n, added := t.root, &tabledRoute{route: r}
	for rest := strings.TrimPrefix(r.path, "/"); rest != ""; {
		var segment string
		segment, rest, _ = strings.Cut(rest, "/")
		if name, ok := strings.CutPrefix(segment, "{"); ok {
			added.names = append(added.names, strings.TrimSuffix(name, "}"))
			if n.value == nil {
				n.value = new(routeNode)
			}
			n = n.value
			continue
		}
		if n.literals == nil {
			n.literals = make(map[string]*routeNode)
		}
		if n.literals[segment] == nil {
			n.literals[segment] = new(routeNode)
		}
		n = n.literals[segment]
	}
	if n.methods == nil {
		n.methods = make(map[string]*tabledRoute)
	}
	if n.methods[r.method] != nil || len(added.names) > maxPathValues {
		panic("server: the route " + r.method + " " + r.path + " is there twice or has too many values")
	}
	n.methods[r.method] = added
}

// largestBody is what the front end may read before it knows the route.
func (t routeTable) largestBody() int { return t.largest }

// find returns the route of a method and path, and what stands in the path. It
// allocates nothing. A slash at the end is passed over.
func (t routeTable) find(method, path string) (r *tabledRoute, v pathValues) {
	rest, ok := trimPath(path)
	if !ok {
		return nil, v
	}
	if r = t.root.find(method, rest, 0, &v); r != nil {
		v.names = r.names
	}
	return r, v
}

// methods returns the methods that a path takes, sorted; none when there is
// nothing at that path.
func (t routeTable) methods(path string) []string {
	found := make(map[string]bool)
	if rest, ok := trimPath(path); ok {
		t.root.collect(rest, found)
	}
	return slices.Sorted(maps.Keys(found))
}

// trimPath takes the slashes from both ends; every path begins with one.
func trimPath(path string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, "/")
	return strings.TrimSuffix(rest, "/"), ok
}

// find walks the rest of a path, with depth values taken already.
func (n *routeNode) find(method, rest string, depth int, v *pathValues) *tabledRoute {
	if rest == "" {
		return n.methods[method]
	}
	segment, rest, _ := strings.Cut(rest, "/")
	if segment == "" {
		return nil
	}
	if next := n.literals[segment]; next != nil {
		if r := next.find(method, rest, depth, v); r != nil {
			return r
		}
	}
	if n.value == nil || depth == maxPathValues {
		return nil
	}
	v.values[depth] = segment
	return n.value.find(method, rest, depth+1, v)
}

// collect finds every method with which the rest of a path is a route.
func (n *routeNode) collect(rest string, found map[string]bool) {
	if rest == "" {
		for method := range n.methods {
			found[method] = true
		}
		return
	}
	segment, rest, _ := strings.Cut(rest, "/")
	if segment == "" {
		return
	}
	if next := n.literals[segment]; next != nil {
		next.collect(rest, found)
	}
	if n.value != nil {
		n.value.collect(rest, found)
	}
}
