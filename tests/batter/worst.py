"""What a hostile client asks: endless queries, endless values, statements of every shape."""


def joined(count, between, one):
    return between.join(one(number) if callable(one) else one for number in range(count))


def nested(count, open, inner, close):
    return open * count + inner + close * count


SHAPES = [
    lambda n: f"SELECT {joined(n, ' OR ', 'false')}",
    lambda n: f"SELECT count(*) FROM known WHERE {joined(n, ' OR ', lambda i: f'id = {i}')}",
    lambda n: f"SELECT count(*) FROM known WHERE {joined(n, ' AND ', lambda i: f'id <> {i}')}",
    lambda n: f"SELECT count(*) FROM known WHERE id IN ({joined(n, ',', str)})",
    lambda n: f"SELECT {joined(n, '+', '1')}",
    lambda n: f"SELECT {joined(n, '+', 'id')} FROM known",
    lambda n: f"SELECT {joined(n, '||', chr(39) + 'a' + chr(39))}",
    lambda n: f"SELECT 1{'::BIGINT' * n}",
    lambda n: f"SELECT {'NOT ' * n} true",
    lambda n: f"SELECT {'- ' * n} 1",
    lambda n: f"SELECT {nested(n, '(', '1', ')')}",
    lambda n: f"SELECT {'(' * n}",
    lambda n: f"SELECT {nested(n, 'CAST(', '1', ' AS INT)')}",
    lambda n: f"SELECT {nested(n, 'abs(', '1', ')')}",
    lambda n: f"SELECT {nested(n, 'CASE WHEN true THEN 1 ELSE ', '2', ' END')}",
    lambda n: f"SELECT {nested(n, '[', '1', ']')}",
    lambda n: f"SELECT {nested(n, '(SELECT ', '1', ')')}",
    lambda n: nested(n, "SELECT * FROM (", "SELECT 1", ")"),
    lambda n: nested(n, "WITH q AS (", "SELECT 1 AS a", ") SELECT a FROM q"),
    lambda n: f"SELECT NULL::INT{'[]' * n}",
    lambda n: f"SELECT 1 {nested(n, '/* ', 'x', ' */')}",
    lambda n: "EXPLAIN " * n + "SELECT 1",
    lambda n: joined(n, " UNION ALL ", "SELECT 1"),
    lambda n: joined(n, " UNION ", lambda i: f"SELECT {i}"),
    lambda n: joined(n, " INTERSECT ", "SELECT 1"),
    lambda n: f"SELECT count(*) FROM known{joined(n, '', lambda i: f' JOIN known k{i} ON k{i}.id = known.id')}",
    lambda n: f"SELECT count(*) FROM {joined(n, ', ', lambda i: f'known k{i}')}",
    lambda n: "WITH q0 AS (SELECT 1 AS a), " + joined(n, ", ", lambda i: f"q{i + 1} AS (SELECT a + 1 AS a FROM q{i})")
              + f" SELECT a FROM q{n}",
    lambda n: "WITH q0 AS (SELECT 1 AS a), "
              + joined(n, ", ", lambda i: f"q{i + 1} AS (SELECT x.a FROM q{i} x JOIN q{i} y ON x.a = y.a)")
              + f" SELECT a FROM q{n}",
    lambda n: f"SELECT {joined(n, ', ', lambda i: f'{i} AS c{i}')}",
    lambda n: f"SELECT {joined(n, ', ', lambda i: f'sum(id + {i}) AS c{i}')} FROM known",
    lambda n: f"SELECT {joined(n, ', ', lambda i: f'sum(id) OVER (ORDER BY g + {i})')} FROM known",
    lambda n: f"SELECT count(*) FROM known GROUP BY {joined(n, ', ', lambda i: f'id + {i}')}",
    lambda n: f"SELECT count(*) FROM known GROUP BY GROUPING SETS ({joined(n, ', ', '(g)')})",
    lambda n: f"SELECT id FROM known ORDER BY {joined(n, ', ', lambda i: f'g + {i}')}",
    lambda n: f"SELECT count(*) FROM (VALUES {joined(n, ',', lambda i: f'({i})')})",
    lambda n: f"SELECT cardinality([{joined(n, ',', str)}])",
    lambda n: f"SELECT length('{'x' * n}')",
    lambda n: f"SELECT {'x' * n}",
    lambda n: f"SELECT 1{'0' * n}",
    lambda n: "SELECT 1;" * n,
]

ENDLESS = [
    "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value * 3 < b.value - 9000000",
    "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.value % 2 = b.value % 2 AND a.value > b.value + 9999999",
    "SELECT sum(levenshtein(repeat(value::VARCHAR, 100), repeat('ab', 300))) FROM range(1000000)",
    "SELECT sum(m) FROM (SELECT median(value) OVER (ORDER BY value ROWS BETWEEN 10000 PRECEDING AND 10000 FOLLOWING) AS m "
    "FROM range(1000000))",
    "SELECT sum(value) FROM random_normal([100000, 1000000])",
    "SELECT sum(value) FROM zeros([9223372036854775807])",
    "SELECT min(value), max(value) FROM zeros([9223372036854775807])",
    "SELECT count(*) FROM (SELECT unnest(range(value)) AS u FROM generate_series(1000000, 2000000))",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r",
    "SELECT count(*) FROM known a, known b, known c WHERE a.id + b.id + c.id = 3",
]

LARGE = [
    "SELECT length(repeat('x', 2000000000))",
    "SELECT length(lpad('x', 2000000000, 'ab'))",
    "SELECT length(repeat('x', 200000000) || repeat('y', value)) FROM range(300)",
    "SELECT count(*) FROM (SELECT unnest(range(300000000)))",
    "SELECT cardinality(array_agg(value)) FROM range(1000000000)",
    "SELECT length(string_agg(repeat('x', 1000), ',')) FROM range(10000000)",
    "SELECT approx_percentile_cont(value, 0.5, 999999999) FROM range(10000000)",
    "SELECT levenshtein(repeat('ab', 50000), repeat('ba', 50000))",
    "SELECT count(*) FROM (SELECT value % 10000000 AS k, count(*) FROM range(50000000) GROUP BY k)",
    "SELECT max(c) FROM (SELECT repeat(value::VARCHAR, 50) AS k, count(*) AS c FROM range(5000000) GROUP BY k)",
    "SELECT count(*) FROM (SELECT value, row_number() OVER (ORDER BY value * 7919 % 20000003) FROM range(20000000))",
    "SELECT count(*) FROM range(20000000) a JOIN range(20000000) b ON a.value = b.value + 1",
    "SELECT value FROM range(20000000) ORDER BY value * 7919 % 20000003 LIMIT 10000000",
    "SELECT median(value), value % 100000 FROM range(20000000) GROUP BY 2",
    "SELECT count(DISTINCT value * 7919 % 20000003) FROM range(20000000)",
    "SELECT * FROM range(100000000)",
]


def shapes(dice):
    while True:
        shape, size = dice.choice(SHAPES), 1 << dice.randrange(18)
        sql = shape(size)
        if len(sql) <= 1 << 20:
            yield sql


def endless(dice):
    while True:
        yield dice.choice(ENDLESS)


def large(dice):
    while True:
        yield dice.choice(LARGE)


KINDS = {"shapes": shapes, "shapes of another": shapes, "endless": endless, "endless too": endless, "large": large, "large too": large}
