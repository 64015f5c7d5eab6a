"""Pairs that belong together -> groups."""

from collections.abc import Hashable, Iterable


class UnionFind:
    """Joins nodes; two nodes have the same root exactly when a chain of joins leads from one to the other."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def root(self, node: Hashable) -> Hashable:
        """The node that stands for the whole group of `node`."""
        self._parent.setdefault(node, node)
        root = node
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[node] != root:
            self._parent[node], node = root, self._parent[node]
        return root

    def join(self, a: Hashable, b: Hashable) -> None:
        """Put both groups into one."""
        self._parent[self.root(a)] = self.root(b)


def smallest_of_group(nodes: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Each node -> the smallest node of its group, a name that depends neither on order nor on who joined whom."""
    union = UnionFind()
    for a, b in pairs:
        union.join(a, b)
    smallest: dict[Hashable, str] = {}
    everyone = sorted(nodes)
    for node in everyone:
        smallest.setdefault(union.root(node), node)
    return {node: smallest[union.root(node)] for node in everyone}
