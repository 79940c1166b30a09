"""Random expressions of a type, over the columns that are in scope.

Where the engines differ by definition, the expression is written so that they do not (`README.md` lists
the differences). Subqueries come from `queries.py`, which calls this and is called through `Maker.query`.
"""

from syntax import Node

DATES = ["DATE '2024-02-29'", "DATE '2024-03-01'", "DATE '2024-02-25'", "DATE '2024-03-10'"]
TIMES = ["TIMESTAMP '2024-02-28 00:00:00'", "TIMESTAMP '2024-02-29 12:00:00'", "TIMESTAMP '2024-03-01 03:00:00'"]
TEXTS = ["''", "'a'", "'ab'", "'abc'", "'ABC'", "'ä'", "'🙂'", "' a '", "'zz'", "'longer than twelve bytes'"]
PATTERNS = ["'a%'", "'%b%'", "'_'", "'%'", "''", "'ab_'", "'%é%'", "'longer%'"]
BIG = ["9223372036854775807", "(-9223372036854775807 - 1)", "9007199254740993", "9007199254740992", "0", "1", "-1"]
DOUBLES = ["0e0", "1e0", "1.5e0", "-1.5e0", "2e0", "3e0", "1e20", "1e300", "0.1e0", "15.3e0", "CAST('NaN' AS DOUBLE)",
           "CAST('Infinity' AS DOUBLE)", "CAST('-Infinity' AS DOUBLE)", "-0e0"]
# Literals beside REAL columns: the column's type decides.
REALS = ["15.3", "0.1", "1.0", "2.5", "0.0", "CAST(15.3 AS REAL)", "CAST('NaN' AS REAL)"]
DECIMALS = ["1.25", "-0.5", "0.00", "2", "-3", "CAST(1.25 AS DECIMAL(10,2))"]
COMPARISONS = ["=", "=", "<>", "<", "<=", ">", ">="]


class Column:
    def __init__(self, sql, type):
        self.node, self.type = Node(type, sql), type


class Maker:
    """Makes expressions. `scope` holds columns, `outer` those of the queries around it."""

    def __init__(self, random, scope, outer, query):
        self.random, self.scope, self.outer, self.query = random, scope, outer, query

    def chance(self, share):
        return self.random.random() < share

    def pick(self, items):
        return self.random.choice(items)

    def columns(self, type):
        found = [column.node for column in self.scope if column.type == type]
        if self.outer and (not found or self.chance(0.15)):
            found += [column.node for column in self.outer if column.type == type]
        return found

    def literal(self, type):
        if self.chance(0.04):
            names = {"i": "BIGINT", "I": "BIGINT", "f": "DOUBLE", "r": "REAL", "s": "VARCHAR", "d": "DATE",
                     "t": "TIMESTAMP", "b": "BOOLEAN", "n": "DECIMAL(10,2)"}
            return Node(type, f"CAST(NULL AS {names[type]})")
        if type == "i":
            return Node(type, str(self.random.randint(-3, 12)))
        texts = {"I": BIG, "f": DOUBLES, "r": REALS, "s": TEXTS, "d": DATES, "t": TIMES, "b": ["true", "false"],
                 "n": DECIMALS}
        text = self.pick(texts[type])
        if type == "n" and "CAST" not in text:
            text = f"CAST({text} AS DECIMAL(10,2))"
        if type == "r" and "CAST" not in text:
            text = f"CAST({text} AS REAL)"
        return Node(type, text)

    def leaf(self, type):
        columns = self.columns(type)
        return self.pick(columns) if columns and self.chance(0.8) else self.literal(type)

    def make(self, type, depth):
        """An expression of a type, with no more than `depth` steps."""
        if depth <= 0 or self.chance(0.25):
            return self.leaf(type)
        if self.query is not None and self.chance(0.05) and type != "r":
            scalar = self.query.scalar(self, type)
            if scalar is not None:
                return scalar
        if self.chance(0.2):
            return self.conditional(type, depth)
        return getattr(self, "make_" + type)(depth - 1)

    def conditional(self, type, depth):
        one, other = self.make(type, depth - 1), self.make(type, depth - 1)
        kind = self.random.randrange(6)
        if kind == 0:
            return Node(type, "coalesce({}, {})", one, other)
        if kind == 1:
            return Node(type, "nullif({}, {})", one, other)
        if kind == 2:
            return Node(type, "CASE WHEN {} THEN {} END", self.make("b", depth - 1), one)
        if kind == 3 and type in "isdt":
            subject = self.leaf("i")
            return Node(type, "CASE {} WHEN 1 THEN {} WHEN {} THEN {} ELSE {} END", subject, one, self.leaf("i"), other,
                        self.leaf(type))
        if kind == 4 and type in "ifsdn":
            return Node(type, self.pick(["greatest({}, {})", "least({}, {})"]), one, other)
        return Node(type, "CASE WHEN {} THEN {} ELSE {} END", self.make("b", depth - 1), one, other)

    # ---- one for each type

    def make_i(self, depth):
        one = self.make("i", depth)
        forms = ["({} + 1)", "({} - 7)", "({} * 3)", "(- {})", "abs({})", "({} % 5)", "({} * -2)"]
        kind = self.random.randrange(14)
        if kind < 5:
            return Node("i", self.pick(forms), one)
        if kind == 5:
            divisor = self.pick(["2", "3", "-4", "5"])
            return Node("i", (f"({{}} / {divisor})", f"({{}} // {divisor})"), one)
        if kind < 8:
            return Node("i", self.pick(["({} + {})", "({} - {})"]), one, self.make("i", depth))
        if kind == 8:
            return Node("i", self.pick(["length({})", "CAST(strpos({}, 'b') AS BIGINT)"]), self.make("s", depth))
        if kind == 9:
            part = self.pick(["year", "month", "day", "dow", "doy", "week", "quarter"])
            return Node("i", f"CAST(extract({part} FROM {{}}) AS BIGINT)", self.make("d", depth))
        if kind == 10:
            part = self.pick(["hour", "minute", "day"])
            return Node("i", f"CAST(extract({part} FROM {{}}) AS BIGINT)", self.make("t", depth))
        if kind == 11:
            # a cast truncates in one engine and rounds in the other; both are errors for NaN and infinities
            # (of a constant, it fails here when the query is planned, though CASE leaves it out)
            doubles = [column.node for column in self.scope if column.type == "f"]
            if not doubles:
                return self.leaf("i")
            double = self.pick(doubles)
            return Node("i", "CASE WHEN {} BETWEEN -1e6 AND 1e6 THEN CAST(trunc({}) AS BIGINT) END", double, double)
        if kind == 12:
            return Node("i", "CAST({} AS INTEGER)", self.make("b", depth))
        return Node("i", "CAST({} AS BIGINT)", one)

    def make_I(self, depth):
        return self.leaf("I")

    def make_f(self, depth):
        one = self.make("f", depth)
        kind = self.random.randrange(8)
        if kind < 3:
            return Node("f", self.pick(["({} + 1e0)", "({} * 0.5e0)", "(- {})", "abs({})", "({} / 4e0)", "({} * -2e0)"]), one)
        if kind == 3:
            return Node("f", self.pick(["floor({})", "ceil({})", "sqrt(abs({}))"]), one)
        if kind < 6:
            return Node("f", self.pick(["({} + {})", "({} - {})", "({} * {})"]), one, self.make("f", depth))
        return Node("f", "CAST({} AS DOUBLE)", self.make(self.pick(["i", "i", "r"]), depth))

    def make_r(self, depth):
        return self.leaf("r")

    def make_s(self, depth):
        one = self.make("s", depth)
        kind = self.random.randrange(7)
        if kind == 0:
            return Node("s", self.pick(["({} || {})", "concat({}, {})"]), one, self.make("s", depth))
        if kind == 1:
            return Node("s", "CAST({} AS VARCHAR)", self.make(self.pick(["i", "b", "d"]), depth))
        if kind == 2:
            return Node("s", self.pick(["substr({}, 1, 2)", "substr({}, 2)", "left({}, 3)", "right({}, 2)"]), one)
        forms = ["upper({})", "lower({})", "trim({})", "reverse({})", "replace({}, 'a', 'ä')", "({} || 'x')"]
        return Node("s", self.pick(forms), one)

    def make_d(self, depth):
        one = self.make("d", depth)
        kind = self.random.randrange(4)
        if kind == 0:
            return Node("d", "CAST({} AS DATE)", self.make("t", depth))
        if kind == 1:
            return Node("d", "CAST(date_trunc('month', {}) AS DATE)", one)
        step = self.pick(["+ INTERVAL '3' DAY", "- INTERVAL '1' DAY", "+ INTERVAL '1' MONTH"])
        return Node("d", f"CAST({{}} {step} AS DATE)", one)

    def make_t(self, depth):
        one = self.make("t", depth)
        kind = self.random.randrange(4)
        if kind == 0:
            return Node("t", "CAST({} AS TIMESTAMP)", self.make("d", depth))
        if kind == 1:
            return Node("t", f"date_trunc('{self.pick(['day', 'hour', 'month'])}', {{}})", one)
        return Node("t", f"({{}} {self.pick(['+', '-'])} INTERVAL '{self.pick(['1', '2'])}' {self.pick(['HOUR', 'DAY'])})", one)

    def make_n(self, depth):
        one = self.leaf("n")
        kind = self.random.randrange(3)
        if kind == 0:
            return Node("n", self.pick(["({} + {})", "({} - {})"]), one, self.leaf("n"))
        return Node("n", self.pick(["abs({})", "(- {})", "({} * 2)"]), one)

    # ---- conditions

    def comparable(self):
        present = sorted({column.type for column in self.scope} - {"b"}) or ["i"]
        return self.pick(present)

    def make_b(self, depth):
        kind = self.random.randrange(20)
        if kind < 7:
            return self.comparison(depth)
        if kind < 9:
            return Node("b", "({} AND {})", self.make("b", depth), self.make("b", depth))
        if kind < 12:
            return Node("b", "({} OR {})", self.make("b", depth), self.make("b", depth))
        if kind == 12:
            return Node("b", "(NOT {})", self.make("b", depth))
        type = self.comparable()
        if kind == 13:
            subject = self.make(self.pick([type, "b"]), depth)
            return Node("b", self.pick(["({} IS NULL)", "({} IS NOT NULL)"]), subject)
        if kind == 14:
            word = self.pick(["IS TRUE", "IS FALSE", "IS UNKNOWN", "IS NOT TRUE", "IS NOT FALSE", "IS NOT UNKNOWN"])
            almagest, duckdb = f"({{}} {word})", f"({{}} {word.replace('UNKNOWN', 'NULL')})"
            return Node("b", (almagest, duckdb), self.make("b", depth))
        if kind == 15:
            word = self.pick(["IN", "NOT IN"])
            items = [self.literal(type) for _ in range(self.pick([1, 2, 3, 5]))]
            return Node("b", f"({{}} {word} ({', '.join(['{}'] * len(items))}))", self.make(type, depth), *items)
        if kind == 16:
            word = self.pick(["BETWEEN", "BETWEEN", "NOT BETWEEN"])
            return Node("b", f"({{}} {word} {{}} AND {{}})", self.leaf(type), self.literal(type), self.leaf(type))
        if kind == 17:
            word = self.pick(["LIKE", "NOT LIKE", "LIKE", "ILIKE"])
            if self.chance(0.3):
                return Node("b", "starts_with({}, 'a')", self.leaf("s"))
            return Node("b", f"({{}} {word} {self.pick(PATTERNS)})", self.make("s", depth))
        if kind == 18 and self.query is not None:
            return self.query.condition(self, type)
        word = self.pick(["IS DISTINCT FROM", "IS NOT DISTINCT FROM"])
        return Node("b", f"({{}} {word} {{}})", self.leaf(type), self.leaf(type))

    def comparison(self, depth):
        """Mostly a column beside a literal: what statistics and pruning work on."""
        type = self.comparable()
        operator = self.pick(COMPARISONS)
        columns = self.columns(type)
        if columns and self.chance(0.5):
            one, other = self.pick(columns), self.literal(type)
            if type == "r" and self.chance(0.7):
                other = Node("r", self.pick(["15.3", "0.1", "1.0", "2.5", "0.0"]))
            if type == "i" and self.chance(0.1):
                other = Node("f", self.pick(["1.5e0", "2e0", "-0.5e0"]))
            if self.chance(0.15):
                one, other = other, one
        else:
            one, other = self.make(type, depth), self.make(type, depth)
        return Node("b", f"({{}} {operator} {{}})", one, other)
