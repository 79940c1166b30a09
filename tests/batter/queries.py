"""Random queries over the tables of `tables.py`.

`query(random)` gives a tree and whether the order of its rows is determined. Every query determines its
rows: ORDER BY with LIMIT goes through all output columns or a unique one, window functions that tell
peers apart are ordered by unique columns. Not here: expressions (`expressions.py`), running.
"""

import re

from expressions import Column, Maker
from syntax import ALMAGEST, Derived, Join, Node, Select, SetOperation, Table
from tables import COLUMNS, LAYOUTS

NAMES = [layout[0] for layout in LAYOUTS]
OFTEN = [name for name in NAMES for _ in range(1 if name in ("t3", "t5") else 3)]
ROWS = {layout[0]: layout[1] for layout in LAYOUTS}
# Types of output columns, as often as they are wanted.
TYPES = "iiiiffssdtbnIxr".replace("x", "")
KEYS = ["k", "k", "a", "id", "s", "d", "n", "y", "p", "big", "ts"]
DIRECTIONS = ["ASC NULLS LAST", "DESC NULLS LAST", "ASC NULLS FIRST", "DESC NULLS FIRST"]
SEMI = [("LEFT SEMI JOIN", "SEMI JOIN"), ("LEFT ANTI JOIN", "ANTI JOIN")]


# What types are called in SQL.
SQL_TYPES = {"i": "BIGINT", "f": "DOUBLE", "s": "VARCHAR", "d": "DATE", "b": "BOOLEAN", "n": "DECIMAL(10,2)"}


class Queries:
    def __init__(self, random):
        self.random, self.aliases, self.ctes = random, 0, []

    def chance(self, share):
        return self.random.random() < share

    def pick(self, items):
        return self.random.choice(items)

    def alias(self):
        self.aliases += 1
        return f"j{self.aliases}"

    def maker(self, scope, outer=(), deep=True):
        return Maker(self.random, scope, list(outer), self if deep else None)

    # ---- FROM

    def table(self, small=False):
        names = [name for name in OFTEN if not small or ROWS[name] <= 150]
        if self.ctes and self.chance(0.5):
            name, types = self.pick(self.ctes)
            alias = self.alias()
            return Table(name, alias), [Column(f"{alias}.{column}", type) for column, type in types], None
        name = self.pick(names)
        alias = self.alias() if self.chance(0.8) or not small else name
        alias = alias if alias != name else self.alias()
        scope = [Column(f"{alias}.{column}", type) for column, type in COLUMNS]
        return Table(name, alias), scope, f"{alias}.id"

    def relation(self, small=False, depth=1):
        if depth > 0 and self.chance(0.15):
            query, types = self.select(depth - 1)
            alias = self.alias()
            return Derived(query, alias), [Column(f"{alias}.{name}", type) for name, type in types], None
        return self.table(small)

    def source(self, depth, outer=()):
        """A FROM clause, its columns, and the columns that are unique together (None: not known)."""
        source, scope, unique = self.relation(depth=depth)
        uniques = [unique]
        for _ in range(self.pick([0, 0, 0, 1, 1, 1, 2, 2, 3]) if depth > 0 else self.pick([0, 0, 1])):
            if not any(column.type == "i" for column in scope):
                break
            source, scope, unique = self.join(source, scope, len(uniques), depth)
            if unique is not False:
                uniques.append(unique)
        return source, scope, None if None in uniques else uniques

    def join(self, source, scope, joined, depth):
        right, columns, unique = self.relation(small=joined > 1, depth=depth - 1)
        kind = self.pick(["JOIN", "JOIN", "JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "semi"])
        kind = self.pick(SEMI) if kind == "semi" else kind
        if joined == 1 and isinstance(source, Table) and self.chance(0.1) and isinstance(kind, str):
            if source.name in NAMES and isinstance(right, Table) and right.name in NAMES:
                using = self.pick([["k"], ["id"], ["k", "a"], ["s", "k"], ["k", "y"]])
                return Join(kind, source, right, [], using), scope + columns, unique
        on = self.conditions_of_join(scope, columns, joined)
        if on is None:
            return Join("CROSS JOIN", source, Derived(Select([(Node("i", "count(*)"), "c")], right), right.alias), []), \
                scope + [Column(f"{right.alias}.c", "i")], None
        if isinstance(kind, tuple):
            return Join(kind, source, right, on), scope, False
        return Join(kind, source, right, on), scope + columns, unique

    def conditions_of_join(self, left, right, joined):
        """Mostly an equality of columns of one name, and sometimes more beside it."""
        def named(scope, name):
            return [column for column in scope if column.node.form.endswith("." + name)]

        name = self.pick(KEYS)
        ones, others = named(left, name), named(right, name)
        if not ones or not others or (name in "ap" and joined > 1):
            types = {column.type for column in left} & {column.type for column in right} - {"b"}
            if "i" not in types:
                return None
            ones = [column for column in left if column.type == "i"]
            others = [column for column in right if column.type == "i"]
            if joined > 1:
                ones = [column for column in ones if column.node.form.endswith((".k", ".id"))] or ones
                others = [column for column in others if column.node.form.endswith((".k", ".id"))] or others
        one, other = self.pick(ones), self.pick(others)
        operator = self.pick(["="] * 9 + ["IS NOT DISTINCT FROM"])
        if joined == 1 and self.chance(0.06):
            operator = self.pick(["<", ">=", "<>"])
        parts = [one.node, other.node]
        if self.chance(0.1):
            parts.reverse()
        form = "({} + 1 = {})" if one.type == "i" and self.chance(0.05) else f"({{}} {operator} {{}})"
        on = [Node("b", form, *parts)]
        maker = self.maker(left + right, deep=False)
        while self.chance(0.3):
            on.append(self.pick([maker.comparison, maker.make_b])(1))
        return on

    # ---- subqueries in expressions

    def inner(self, maker):
        """A FROM and conditions inside a subquery, perhaps correlated."""
        source, scope, _ = self.table(small=True)
        outer = maker.scope if self.chance(0.6) else []
        where = []
        inside = self.maker(scope, deep=False)
        if outer:
            type = self.pick(["i", "i", "s", "d"])
            ones = [column.node for column in scope if column.type == type]
            others = [column.node for column in outer if column.type == type]
            if ones and others:
                where.append(Node("b", f"({{}} {self.pick(['=', '=', '=', '<', '<>'])} {{}})", self.pick(ones), self.pick(others)))
        if self.chance(0.5):
            where.append(inside.make("b", 1))
        return source, scope, where, inside

    def scalar(self, maker, type):
        """(SELECT an aggregate ...): one row, whatever is there."""
        source, scope, where, inside = self.inner(maker)
        if type == "i" and self.chance(0.5):
            aggregate = Node("i", self.pick(["count(*)", "count({})", "CAST(sum({}) AS BIGINT)"]), inside.leaf("i"))
            if aggregate.form == "count(*)":
                aggregate.parts = []
        elif type == "b":
            aggregate = Node("b", self.pick(["bool_and({})", "bool_or({})"]), inside.leaf("b"))
        else:
            aggregate = Node(type, self.pick(["min({})", "max({})"]), inside.leaf(type))
        return Node(type, "({})", Select([(aggregate, "v")], source, where))

    def condition(self, maker, type):
        source, scope, where, inside = self.inner(maker)
        kind = self.random.randrange(6)
        if kind < 2:
            word = self.pick(["EXISTS", "NOT EXISTS"])
            return Node("b", f"({word} ({{}}))", Select([(Node("i", "1"), "one")], source, where))
        type = type if type in "ifsdnI" else "i"
        query = Select([(inside.make(type, 1), "v")], source, where)
        if kind == 5 and type in "is":
            word = self.pick(["= ANY", "<> ALL", "> ALL", "<= ANY"])
            return Node("b", f"({{}} {word} ({{}}))", maker.leaf(type), query)
        return Node("b", f"({{}} {self.pick(['IN', 'NOT IN'])} ({{}}))", maker.make(type, 1), query)

    # ---- aggregates and windows

    def aggregate(self, maker, depth):
        """An aggregate of one, and its type."""
        kind = self.random.randrange(12)
        type = self.pick("iiifsdtn")
        if kind < 2:
            found = Node("i", "count(*)")
        elif kind < 4:
            found = Node("i", self.pick(["count({})", "count(DISTINCT {})"]), maker.make(type, depth))
        elif kind < 6:
            found = Node("i", self.pick(["sum({})", "sum({})", "sum(DISTINCT {})"]), maker.make("i", depth))
        elif kind == 6:
            found = Node("f", self.pick(["sum({})", "avg({})"]), self.quarters(maker))
        elif kind == 7:
            found = Node("f", "avg({})", maker.make("i", depth))
        elif kind == 8:
            found = Node("b", self.pick(["bool_and({})", "bool_or({})"]), maker.make("b", depth))
        elif kind == 9 and maker.columns("n"):
            found = Node("n", "sum({})", maker.leaf("n"))
        else:
            type = self.pick("iIffrsdtn")
            found = Node(type, self.pick(["min({})", "max({})"]), maker.make(type, depth))
        if self.chance(0.2):
            found = Node(found.type, found.form + " FILTER (WHERE {})", *found.parts, maker.make("b", depth))
        if "sum" in found.form and found.type == "i":
            found = Node("i", "CAST({} AS BIGINT)", found)
        return found

    def quarters(self, maker):
        """Doubles whose sums are exact in any order."""
        columns = [column.node for column in maker.scope if column.node.form.endswith(".y")]
        if not columns or self.chance(0.2):
            return Node("f", "CAST({} AS DOUBLE)", maker.leaf("i"))
        return Node("f", self.pick(["{}", "{}", "({} + 1e0)", "({} * 0.5e0)"]), self.pick(columns))

    def window(self, maker, uniques):
        """A window function. Its frame and order leave one answer."""
        partition = ""
        parts = []
        if self.chance(0.6):
            keys = [maker.leaf(self.pick("iisbd")) for _ in range(self.pick([1, 1, 2]))]
            partition = "PARTITION BY " + ", ".join(["{}"] * len(keys)) + " "
            parts += keys
        order = [maker.leaf(self.pick("iifsdt")) for _ in range(self.pick([0, 1, 1]))]
        directions = [self.pick(DIRECTIONS) for _ in order]
        total = uniques is not None and self.chance(0.7)
        if total:
            order += [Node("i", unique) for unique in uniques]
            directions += [self.pick(DIRECTIONS) for _ in uniques]
        by = "ORDER BY " + ", ".join(f"{{}} {how}" for how in directions) if order else ""
        argument = maker.make("i", 1)
        frame, type, form = "", "i", None
        if total:
            kind = self.random.randrange(7)
            other = self.pick("isdf")
            if kind == 0:
                form = self.pick(["row_number()", "ntile(4)", "rank()"])
            elif kind == 1:
                form, type = self.pick(["lag({})", "lead({}, 2)"]), other
            elif kind == 2:
                form, type = self.pick(["first_value({})", "last_value({})", "nth_value({}, 2)"]), other
            else:
                form = self.pick(["sum({})", "count({})", "min({})", "max({})"])
                if kind > 3:
                    frame = self.pick([" ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS BETWEEN 1 PRECEDING AND 3 FOLLOWING",
                                       " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING",
                                       " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING"])
            if type != "i":
                argument = maker.leaf(type)
        elif order:
            form = self.pick(["rank()", "dense_rank()", "sum({})", "count({})", "max({})", "percent_rank()"])
            type = "f" if form == "percent_rank()" else "i"
        else:
            form = self.pick(["sum({})", "count(*)", "min({})", "avg({})"])
            type = "f" if form == "avg({})" else "i"
        given = [argument] if "{}" in form else []
        node = Node(type, f"{form} OVER ({partition}{by}{frame})", *given, *parts, *order)
        return Node("i", "CAST({} AS BIGINT)", node) if type == "i" else node

    # ---- queries

    def select(self, depth, outer=(), types=None):
        """A SELECT, and the names and types of its columns."""
        source, scope, uniques = self.source(depth)
        maker = self.maker(scope, outer, deep=depth > 0)
        where = []
        while self.chance(0.4) and len(where) < 3:
            where.append(maker.make("b", self.pick([1, 1, 2, 3])))
        kind = self.random.random()
        if kind < 0.35:
            return self.grouped(source, maker, where, types)
        types = types or [self.pick(TYPES) for _ in range(self.pick([1, 1, 2, 3, 4]))]
        items = [(maker.make(type, self.pick([0, 0, 1, 2])), f"c{n}") for n, type in enumerate(types)]
        if kind < 0.55 and depth > 0:
            for index, type in enumerate(types):
                if type == "i" and self.chance(0.8):
                    node = self.window(maker, uniques)
                    types = [*types[:index], node.type, *types[index + 1:]] if node.type == "f" and types else types
                    if node.type == types[index]:
                        items[index] = (node, items[index][1])
        distinct = [] if self.chance(0.12) else None
        query = Select(items, source, where, distinct=distinct)
        return query, [(f"c{n}", node.type) for n, (node, _) in enumerate(items)]

    def grouped(self, source, maker, where, types):
        plainly = Maker(self.random, maker.scope, maker.outer, None)
        keys = [by_value(plainly.make(self.pick("iiisbdnf"), self.pick([0, 0, 0, 1])))
                for _ in range(self.pick([0, 1, 1, 2, 3]))]
        grouping = self.pick(["ROLLUP", "CUBE", "SETS"]) if len(keys) > 1 and self.chance(0.25) else ""
        if grouping:
            # a key that comes twice is an error here
            keys = list({key.sql(ALMAGEST): key for key in keys}.values())
        if types is None:
            items = [key for key in keys if self.chance(0.8)]
            items += [self.aggregate(maker, 1) for _ in range(self.pick([1, 1, 2, 3]))]
        else:
            items = [Node(type, "max({})", maker.make(type, 1)) if type != "b" else Node("b", "bool_or({})", maker.make("b", 1))
                     for type in types]
        having = []
        if self.chance(0.2):
            having.append(Node("b", self.pick(["(count(*) > 2)", "(count(*) <> 1)"])))
            if self.chance(0.4):
                having.append(Node("b", "({} IS NOT NULL)", self.aggregate(maker, 1)))
        named = [(item, f"c{n}") for n, item in enumerate(items)]
        query = Select(named, source, where, keys, grouping, having)
        return query, [(name, item.type) for item, name in named]

    def ordered(self, query, types):
        """Orders a query by all its columns, and perhaps takes the first rows."""
        names = [(name, type) for name, type in types]
        self.random.shuffle(names)
        query.order = [(Node(type, name), self.pick(DIRECTIONS)) for name, type in names]
        if self.chance(0.8):
            query.limit = self.pick([0, 1, 2, 5, 10, 30])
            if self.chance(0.2):
                query.offset = self.pick([1, 3, 10])
        return query

    def by_unique(self):
        """The first rows by an expression and a unique column that need not be among those shown."""
        source, scope, unique = self.table()
        if unique is None:
            return self.plain()
        maker = self.maker(scope)
        items = [(maker.make(self.pick(TYPES), 1), f"c{n}") for n in range(self.pick([1, 2, 3]))]
        order = [(maker.leaf(self.pick("iifsdtn")), self.pick(DIRECTIONS)) for _ in range(self.pick([0, 1, 1, 2]))]
        order = [pair for pair in order if "." in pair[0].form]
        order.append((Node("i", unique), self.pick(DIRECTIONS)))
        where = [maker.make("b", 2)] if self.chance(0.5) else []
        return Select(items, source, where, order=order, limit=self.pick([1, 3, 10])), True

    def plain(self):
        query, types = self.select(2)
        if self.chance(0.4):
            return self.ordered(query, types), True
        return query, False

    def set_operation(self):
        types = [self.pick("iifsdbn") for _ in range(self.pick([1, 1, 2, 3]))]
        left, _ = self.select(1, types=types[:])
        right, _ = self.select(1, types=types[:])
        kept = [node.type for node, _ in left.items]
        if kept != [node.type for node, _ in right.items]:
            return self.plain()
        word = self.pick(["UNION", "UNION ALL", "UNION ALL", "INTERSECT", "EXCEPT"])
        query = SetOperation(word, left, right)
        named = [(f"c{n}", type) for n, type in enumerate(kept)]
        if self.chance(0.4):
            return self.ordered(query, named), True
        if self.chance(0.4):
            alias = self.alias()
            scope = [Column(f"{alias}.{name}", type) for name, type in named]
            query, _ = self.grouped(Derived(query, alias), self.maker(scope, deep=False), [], None)
        return query, False

    def distinct_on(self):
        source, scope, unique = self.table()
        if unique is None:
            return self.plain()
        maker = self.maker(scope)
        keys = [maker.leaf(self.pick("iisbd")) for _ in range(self.pick([1, 1, 2]))]
        keys = [key for key in keys if "CAST" not in key.form and "." in key.form] or [Node("i", unique)]
        order = [(key, self.pick(DIRECTIONS)) for key in keys]
        order += [(maker.leaf(self.pick("iifsd")), self.pick(DIRECTIONS)) for _ in range(self.pick([0, 1]))]
        order = [pair for pair in order if "." in pair[0].form]
        order.append((Node("i", unique), self.pick(DIRECTIONS)))
        items = [(maker.make(self.pick(TYPES), 1), f"c{n}") for n in range(self.pick([1, 2, 3]))]
        where = [maker.make("b", 1)] if self.chance(0.5) else []
        return Select(items, source, where, distinct=keys, order=order), False

    def unnest(self):
        source, scope, _ = self.source(1)
        maker = self.maker(scope)
        type = self.pick("iisd")
        values = [maker.make(type, 1) for _ in range(self.pick([1, 2, 3]))]
        items = [(maker.leaf(self.pick("iisd")), "c0")]
        items.append((Node(type, f"unnest([{', '.join(['{}'] * len(values))}])", *values), "c1"))
        where = [maker.make("b", 1)] if self.chance(0.5) else []
        query = Select(items, source, where)
        if self.chance(0.4):
            alias = self.alias()
            scope = [Column(f"{alias}.{name}", node.type) for node, name in items]
            query, _ = self.grouped(Derived(query, alias), self.maker(scope, deep=False), [], None)
        return query, False

    def with_ctes(self):
        made = []
        for _ in range(self.pick([1, 1, 2])):
            query, types = self.select(1)
            name = f"w{len(made)}"
            made.append((name, query))
            self.ctes = [*self.ctes, (name, types)]
        query, ordered = self.plain()
        query.ctes = made
        return query, ordered


def by_value(node):
    """A number alone would be the place of a column in GROUP BY, and other constants alone are refused."""
    is_column = isinstance(node.form, str) and re.fullmatch(r"[a-z]\w*\.\w+", node.form)
    name = SQL_TYPES.get(node.type)
    return node if node.parts or is_column or name is None else Node(node.type, f"CAST({{}} AS {name})", node)


def query(random):
    """A query, and whether its rows come in one order."""
    shapes = ["plain"] * 12 + ["set_operation"] * 3 + ["by_unique"] * 3 + ["distinct_on", "unnest", "with_ctes", "with_ctes"]
    made = Queries(random)
    return getattr(made, made.pick(shapes))()
