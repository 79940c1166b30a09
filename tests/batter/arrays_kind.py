"""Random queries over arrays beside NumPy and SciPy.

A query is a source (`arrays.py`), conditions, and either groups with aggregates, or rows with windows over
blocks; each part is a text and a NumPy array, so that NumPy answers as the query is made. One that differs
is asked again with fewer parts. Not here: the arrays and the filters.
"""

import math
import random

import numpy as np

import answers
import arrays
from engine import Died, Engine, Hung
from sql_kind import BROKEN, REFUSAL, Outcome, head

COMPARISONS = {
    "<": lambda a, b: above(b, a),
    ">": lambda a, b: above(a, b),
    "<=": lambda a, b: ~above(a, b),
    ">=": lambda a, b: ~above(b, a),
    "=": lambda a, b: ~above(a, b) & ~above(b, a),
    "<>": lambda a, b: above(a, b) | above(b, a),
}


def above(a, b):
    """a > b with NaN above all and equal to itself."""
    return (a > b) | (np.isnan(a) & ~np.isnan(b))


class Query:
    """Columns and conditions are pairs of a text and an array; an aggregate names its expression too."""

    def __init__(self, source, where, keys, items):
        self.source, self.where, self.keys, self.items = source, where, keys, items

    def sql(self):
        columns = [text for text, _ in self.keys] + [item[0] for item in self.items]
        named = ", ".join(f"{text} AS c{n}" for n, text in enumerate(columns))
        words = ["SELECT", named, "FROM", self.source.sql]
        if self.where:
            words += ["WHERE", " AND ".join(text for text, _ in self.where)]
        if self.keys and self.is_grouped():
            words += ["GROUP BY", ", ".join(text for text, _ in self.keys)]
        return " ".join(words)

    def is_grouped(self):
        return all(callable(item[1]) for item in self.items) and bool(self.items)

    def kept(self):
        mask = np.ones(self.source.shape, bool)
        for _, array in self.where:
            mask &= array
        return mask

    def rows(self):
        """What NumPy answers."""
        mask = self.kept()
        keys = [array[mask].tolist() for _, array in self.keys]
        if not self.is_grouped():
            columns = keys + [item[1][mask].tolist() for item in self.items]
            return [tuple(map(answers.plain, row)) for row in zip(*columns)]
        places = np.flatnonzero(mask)
        groups = {}
        for place, group in zip(places, zip(*keys) if keys else ((),) * len(places)):
            groups.setdefault(group, []).append(place)
        if not keys and not groups:
            groups[()] = []
        found = []
        for group, members in groups.items():
            members = np.array(members, dtype=int)
            found.append(tuple(map(answers.plain, (*group, *[item[1](members) for item in self.items]))))
        return found

    def types(self):
        return ["BIGINT"] * len(self.keys) + [item[2] for item in self.items]

    def smaller(self):
        for name in ("where", "keys", "items"):
            parts = getattr(self, name)
            for index in range(len(parts)):
                rest = parts[:index] + parts[index + 1:]
                made = Query(**{**vars(self), name: rest})
                if made.items or made.keys:
                    yield made


class Maker:
    def __init__(self, random, source):
        self.random, self.source = random, source
        self.columns = source.columns()

    def value(self):
        """A value as a double, or arithmetic on it: what follows is exact for quarters."""
        name = self.random.choice(list(self.source.values))
        text = f"CAST({name} AS DOUBLE)"
        array = self.columns[name].astype("f8")
        kind = self.random.randrange(6)
        if kind == 0:
            dim = self.random.choice(self.source.dims)
            return f"({text} + {dim})", array + self.columns[dim]
        if kind == 1:
            return f"({text} * 0.5)", array * 0.5
        if kind == 2:
            return f"abs({text})", np.abs(array)
        if kind == 3:
            limit = self.random.randint(-40, 40)
            return f"CASE WHEN {text} > {limit} THEN {text} ELSE 0.0 END", np.where(above(array, limit), array, 0.0)
        return text, array

    def condition(self):
        kind = self.random.random()
        if kind < 0.4:
            dim = self.random.choice(self.source.dims)
            array, length = self.columns[dim], self.source.shape[self.source.dims.index(dim)]
            if self.random.random() < 0.4:
                low, high = sorted(self.random.randint(-2, length + 2) for _ in range(2))
                return f"{dim} BETWEEN {low} AND {high}", (array >= low) & (array <= high)
            if self.random.random() < 0.4:
                step = self.random.choice([2, 3, 7, 512])
                word = self.random.choice(list(COMPARISONS))
                limit = self.random.randint(-1, length // step + 1)
                return f"{dim}/{step} {word} {limit}", COMPARISONS[word](array // step, limit)
            word, limit = self.random.choice(list(COMPARISONS)), self.random.randint(-1, length)
            return f"{dim} {word} {limit}", COMPARISONS[word](array, limit)
        if kind < 0.5 and len(self.source.dims) > 1:
            one, other = self.random.sample(self.source.dims, 2)
            return f"({one} - 5) * ({one} - 5) + {other} * {other} <= 120", \
                (self.columns[one] - 5) ** 2 + self.columns[other] ** 2 <= 120
        if kind < 0.65:
            (one, first), (other, second) = self.condition(), self.condition()
            word = self.random.choice(["OR", "AND"])
            return f"({one} {word} {other})", first | second if word == "OR" else first & second
        text, array = self.value()
        word = self.random.choice(list(COMPARISONS))
        limit = self.random.randint(-160, 160) / 4 if self.source.exact else self.random.uniform(-50, 150)
        return f"{text} {word} {limit!r}", COMPARISONS[word](array, limit)

    def key(self):
        dim = self.random.choice(self.source.dims)
        if self.random.random() < 0.6:
            step = self.random.choice([2, 3, 4, 8, 16, 100])
            return f"{dim}/{step}", self.columns[dim] // step
        return dim, self.columns[dim]

    def aggregate(self):
        """Its text, what it is of the members of a group (places in the flat array), and its type."""
        text, array = self.value()
        flat = array.reshape(-1)
        name = self.random.choice(["count(*)", "count", "sum", "sum", "avg", "min", "max", "stddev_pop", "var_pop", "stddev",
                                   "bool_or"])
        if name == "count(*)":
            return self.filtered(name, len, "BIGINT")
        if name == "bool_or":
            return self.filtered(f"bool_or({text} > 20)", lambda at: above(flat[at], 20).any() if len(at) else None,
                                 "BOOLEAN")
        return self.filtered(f"{name}({text})", lambda at: AGGREGATES[name](flat[at]),
                             "BIGINT" if name == "count" else "DOUBLE")

    def filtered(self, text, function, type):
        if self.random.random() < 0.8:
            return text, function, type
        condition, mask = self.condition()
        flat = mask.reshape(-1)
        return f"{text} FILTER (WHERE {condition})", lambda at: function(at[flat[at]]), type

    def window(self, mask_of_where):
        """An aggregate over blocks, of the rows that WHERE leaves."""
        text, array = self.value()
        name = self.random.choice(["sum", "avg", "min", "max", "count", "stddev_pop"])
        dims = [dim for dim in self.source.dims if self.random.random() < 0.8] or self.source.dims[:1]
        steps = [self.random.choice([1, 3, 4, 9, 16]) for _ in dims]
        keys = [(f"{dim}/{step}" if step > 1 else dim, self.columns[dim] // step) for dim, step in zip(dims, steps)]
        result = np.zeros(self.source.shape, "i8" if name == "count" else "f8")
        labels = np.stack([array for _, array in keys], -1)[mask_of_where]
        values = array[mask_of_where]
        out = np.zeros(len(values), result.dtype)
        if len(values):
            _, groups = np.unique(labels, axis=0, return_inverse=True)
            groups = groups.reshape(-1)
            for group in range(groups.max() + 1):
                members = groups == group
                out[members] = AGGREGATES[name](values[members])
        result[mask_of_where] = out
        sql = f"{name}({text}) OVER (PARTITION BY {', '.join(text for text, _ in keys)})"
        return sql, result, "BIGINT" if name == "count" else "DOUBLE"


def total(values):
    if not np.isfinite(values).all():
        return float(np.sum(values))
    return math.fsum(values)


def variance(values, less):
    if len(values) <= less:
        return None
    if not np.isfinite(values).all():
        return math.nan
    exact = values.astype(np.longdouble)
    return float(((exact - exact.mean()) ** 2).sum() / (len(values) - less))


AGGREGATES = {
    "count": lambda values: len(values),
    "sum": lambda values: total(values) if len(values) else None,
    "avg": lambda values: total(values) / len(values) if len(values) else None,
    "min": lambda values: float(arrays.least(values)) if len(values) else None,
    "max": lambda values: float(arrays.greatest(values)) if len(values) else None,
    "var_pop": lambda values: variance(values, 0),
    "stddev_pop": lambda values: None if not len(values) else math.sqrt(variance(values, 0)),
    "stddev": lambda values: None if len(values) < 2 else math.sqrt(variance(values, 1)),
}


def query(random, written):
    with np.errstate(all="ignore"):
        source = arrays.source(random, written)
        maker = Maker(random, source)
        where = [maker.condition() for _ in range(random.choice([0, 0, 1, 1, 2]))]
        if random.random() < 0.65:
            keys = [maker.key() for _ in range(random.choice([0, 0, 1, 1, 2]))]
            return Query(source, where, keys, [maker.aggregate() for _ in range(random.choice([1, 2, 3]))])
        made = Query(source, where, [], [])
        keys = [(dim, maker.columns[dim]) for dim in source.dims]
        items = [(*maker.value(), "DOUBLE")]
        if random.random() < 0.5:
            items.append(maker.window(made.kept()))
        elif random.random() < 0.6 and source.sql.isidentifier():
            call = arrays.call(random, source)
            if call:
                items.append((*call, "DOUBLE"))
        return Query(source, where, keys, items)


def outcome(engine, made):
    try:
        failed, text = engine.ask(made.sql())
    except Hung as error:
        return Outcome("hung", str(error))
    except Died as error:
        return Outcome("died", str(error))
    if failed:
        refusal = REFUSAL.search(text) and not BROKEN.search(text)
        return Outcome("refused" if refusal else "failed", text)
    with np.errstate(all="ignore"):
        expected = made.rows()
    inexact = not made.source.exact or "_filter" in made.sql()
    found = answers.difference(answers.rows_of(text, made.types()), expected, False, 1e-9 if inexact else 1e-12,
                               1e-8 if inexact else 1e-300)
    return Outcome("same") if found is None else Outcome("differs", found)


def run(binary, mode, root, seed, numbers, verbose):
    data = root / "data"
    data.mkdir()
    written = arrays.write(seed, data)
    prepare = [f"CREATE EXTERNAL TABLE {name} STORED AS HDF5 LOCATION '{path}'" for name, _, path in written]
    engine = Engine(binary, mode, root, prepare=[] if mode == "flight" else prepare)
    count = {"same": 0, "skipped": 0, "refused": 0, "bad": 0}
    try:
        for number in numbers:
            made = query(random.Random(f"arrays {seed} {number}"), written)
            found = outcome(engine, made)
            if verbose:
                print(f"{number} {found.kind}: {made.sql()}", flush=True)
            if not found.is_bad():
                count[found.kind] += 1
                if found.kind == "refused":
                    print(f"refused, as query {number}: {head(found.text)}")
                continue
            count["bad"] += 1
            made, found = shrink(engine, made, found)
            print(f"---- {found.kind}: --kind arrays --mode {mode} --seed {seed} --only {number}")
            print(f"  {made.sql()};\n{found.text[:1500]}", flush=True)
    finally:
        engine.close()
    return count


def shrink(engine, made, found):
    again = True
    while again:
        again = False
        for other in made.smaller():
            trial = outcome(engine, other)
            if trial.like(found):
                made, found, again = other, trial, True
                break
    return made, found
