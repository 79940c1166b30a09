"""Trees of SQL, their text for two dialects, and smaller trees.

A tree is built by `queries.py` from a seed, rendered for Almagest and for DuckDB, and, where their
answers differ, made smaller step by step (`smaller`). Nothing here chooses at random or runs anything.
"""

import copy

ALMAGEST, DUCKDB = 0, 1

# What stands in for an expression of a type when a query is made smaller.
PLAIN = {
    "i": ["1"],
    "I": ["1"],
    "f": ["1e0"],
    "r": ["CAST(1 AS REAL)"],
    "s": ["'a'"],
    "d": ["DATE '2024-02-29'"],
    "t": ["TIMESTAMP '2024-02-29 12:00:00'"],
    "b": ["true", "false"],
    "n": ["CAST(1 AS DECIMAL(10,2))"],
}


class Node:
    """An expression: its type, its text with a place for each part (one for both dialects, or two)."""

    def __init__(self, type, form, *parts):
        self.type, self.form, self.parts = type, form, list(parts)

    def sql(self, dialect):
        form = self.form if isinstance(self.form, str) else self.form[dialect]
        if not self.parts:
            return form
        return form.format(*[part.sql(dialect) for part in self.parts])

    def own_smaller(self):
        for part in self.parts:
            for found in nodes_of_type(part, self.type):
                yield found
        for text in PLAIN.get(self.type, []):
            if self.form != text:
                yield Node(self.type, text)


class Table:
    def __init__(self, name, alias):
        self.name, self.alias = name, alias

    def sql(self, dialect):
        return self.name if self.name == self.alias else f"{self.name} AS {self.alias}"

    def own_smaller(self):
        return iter(())


class Derived:
    """A subquery in FROM."""

    def __init__(self, query, alias, lateral=False):
        self.query, self.alias, self.lateral = query, alias, lateral

    def sql(self, dialect):
        lateral = "LATERAL " if self.lateral else ""
        return f"{lateral}({self.query.sql(dialect)}) AS {self.alias}"

    def own_smaller(self):
        if isinstance(self.query, Select) and isinstance(self.query.source, Table):
            yield Table(self.query.source.name, self.alias)


class Join:
    """`kind` is a form or two; `on` a list of conditions, or `using` one of names."""

    def __init__(self, kind, left, right, on, using=()):
        self.kind, self.left, self.right, self.on, self.using = kind, left, right, on, list(using)

    def sql(self, dialect):
        kind = self.kind if isinstance(self.kind, str) else self.kind[dialect]
        text = f"{self.left.sql(dialect)} {kind} {self.right.sql(dialect)}"
        if self.using:
            return f"{text} USING ({', '.join(self.using)})"
        if self.on:
            return f"{text} ON {conjunction(self.on, dialect)}"
        return text

    def own_smaller(self):
        yield self.left
        yield self.right
        if self.kind not in ("JOIN", "CROSS JOIN"):
            yield changed(self, kind="JOIN")
        if len(self.on) > 1:
            yield from shorter(self, "on")
        if len(self.using) > 1:
            yield from shorter(self, "using")


class Select:
    def __init__(self, items, source, where=(), keys=(), grouping="", having=(), distinct=None, order=(),
                 limit=None, offset=None, ctes=()):
        self.items = list(items)  # pairs of a node and its name
        self.source, self.where = source, list(where)
        self.keys, self.grouping, self.having = list(keys), grouping, list(having)
        self.distinct = distinct  # None, [] for DISTINCT, or the nodes of DISTINCT ON
        self.order = list(order)  # pairs of a node and its direction
        self.limit, self.offset = limit, offset
        self.ctes = list(ctes)  # pairs of a name and a query

    def sql(self, dialect):
        words = with_clause(self.ctes, dialect) + ["SELECT"]
        if self.distinct is not None:
            words.append("DISTINCT")
            if self.distinct:
                words.append(f"ON ({listed(self.distinct, dialect)})")
        words.append(", ".join(f"{node.sql(dialect)} AS {name}" for node, name in self.items))
        if self.source is not None:
            words.append(f"FROM {self.source.sql(dialect)}")
        if self.where:
            words.append(f"WHERE {conjunction(self.where, dialect)}")
        if self.keys:
            words.append(f"GROUP BY {grouped(self.keys, self.grouping, dialect)}")
        if self.having:
            words.append(f"HAVING {conjunction(self.having, dialect)}")
        return " ".join(words + ending(self, dialect))

    def own_smaller(self):
        if isinstance(self.source, Derived):
            yield self.source.query
        yield from ended_earlier(self)
        if self.distinct is not None:
            yield changed(self, distinct=None)
        for name in ("where", "having"):
            if getattr(self, name):
                yield changed(self, **{name: []})
                yield from shorter(self, name)
        if self.grouping:
            yield changed(self, grouping="")
        yield from shorter(self, "keys")
        if len(self.items) > 1:
            for index in range(len(self.items)):
                yield self.without_item(index)
        yield from shorter(self, "ctes")

    def without_item(self, index):
        name = self.items[index][1]
        order = [(node, how) for node, how in self.order if node.form != name]
        return changed(self, items=self.items[:index] + self.items[index + 1:], order=order)


class SetOperation:
    """UNION and its kin. Both sides have as many columns, of the same types."""

    def __init__(self, word, left, right, order=(), limit=None, offset=None):
        self.word, self.left, self.right = word, left, right
        self.order, self.limit, self.offset, self.ctes = list(order), limit, offset, []

    def sql(self, dialect):
        left, right = self.left.sql(dialect), self.right.sql(dialect)
        words = with_clause(self.ctes, dialect) + [f"({left}) {self.word} ({right})"]
        return " ".join(words + ending(self, dialect))

    def own_smaller(self):
        yield self.left
        yield self.right
        yield from ended_earlier(self)
        both = (self.left, self.right)
        if all(isinstance(side, Select) and len(side.items) > 1 for side in both):
            for index in range(len(self.left.items)):
                name = self.left.items[index][1]
                order = [(node, how) for node, how in self.order if node.form != name]
                left, right = (side.without_item(index) for side in both)
                yield changed(self, left=left, right=right, order=order)


def with_clause(ctes, dialect):
    return ["WITH " + ", ".join(f"{name} AS ({query.sql(dialect)})" for name, query in ctes)] if ctes else []


def conjunction(conditions, dialect):
    return " AND ".join(condition.sql(dialect) for condition in conditions)


def listed(nodes, dialect):
    return ", ".join(node.sql(dialect) for node in nodes)


def grouped(keys, grouping, dialect):
    if grouping in ("ROLLUP", "CUBE"):
        return f"{grouping} ({listed(keys, dialect)})"
    if grouping == "SETS":
        alone = ", ".join(f"({key.sql(dialect)})" for key in keys)
        return f"GROUPING SETS (({listed(keys, dialect)}), {alone}, ())"
    return listed(keys, dialect)


def ending(query, dialect):
    words = []
    if query.order:
        words.append("ORDER BY " + ", ".join(f"{node.sql(dialect)} {how}" for node, how in query.order))
    if query.limit is not None:
        words.append(f"LIMIT {query.limit}")
    if query.offset is not None:
        words.append(f"OFFSET {query.offset}")
    return words


def ended_earlier(query):
    if query.order and query.limit is None and query.offset is None:
        yield changed(query, order=[])
    if query.offset is not None:
        yield changed(query, offset=None)
    if query.limit is not None:
        yield changed(query, limit=None, offset=None)


def changed(tree, **fields):
    other = copy.copy(tree)
    for name, value in fields.items():
        setattr(other, name, value)
    return other


def shorter(tree, name):
    """The tree with one less in one of its lists."""
    items = getattr(tree, name)
    for index in range(len(items)):
        yield changed(tree, **{name: items[:index] + items[index + 1:]})


def nodes_of_type(tree, type):
    """Expressions of a type in a tree, those outside first, none of a query's own."""
    if isinstance(tree, Node):
        if tree.type == type:
            yield tree
        for part in tree.parts:
            yield from nodes_of_type(part, type)


def smaller(tree):
    """Trees with a piece cut off or made plain, large cuts first. Some are not valid SQL."""
    if isinstance(tree, (Node, Table, Derived, Join, Select, SetOperation)):
        yield from tree.own_smaller()
        if isinstance(tree, Node) and " OVER (" in str(tree.form):
            # what orders a window stays, or its rows would be left open
            for index, part in enumerate(tree.parts):
                if not str(part.form).endswith(".id"):
                    for other in smaller(part):
                        yield changed(tree, parts=[*tree.parts[:index], other, *tree.parts[index + 1:]])
            return
        for name, value in vars(tree).items():
            for other in smaller(value):
                yield changed(tree, **{name: other})
    elif isinstance(tree, (list, tuple)):
        for index, item in enumerate(tree):
            for other in smaller(item):
                yield type(tree)([*tree[:index], other, *tree[index + 1:]])
