"""Random queries beside DuckDB: asks both, compares, and makes what differs small.

Each query comes from the seed and its own number alone, so that one can be asked again. Not here: the
tables (`tables.py`), the queries (`queries.py`), the comparison (`answers.py`).
"""

import random
import re
import time

import duckdb

import answers
import queries
import tables
from engine import Died, Engine, Hung
from syntax import ALMAGEST, DUCKDB, smaller

ROWS_MAX = 20_000
SHRINK_TRIES = 1500
SHRINK_SECONDS = 60
# A query is asked under one of these; a run goes through all of them, many queries at a time.
SETTINGS = [
    {},
    {"datafusion.execution.batch_size": "16", "datafusion.optimizer.repartition_file_min_size": "0",
     "datafusion.execution.target_partitions": "4"},
    {"datafusion.execution.parquet.pushdown_filters": "true", "datafusion.optimizer.repartition_file_min_size": "0",
     "datafusion.execution.target_partitions": "3"},
    {"datafusion.optimizer.hash_join_single_partition_threshold": "0",
     "datafusion.optimizer.hash_join_single_partition_threshold_rows": "0", "datafusion.execution.batch_size": "64",
     "datafusion.execution.target_partitions": "4"},
    {"datafusion.optimizer.prefer_hash_join": "false", "datafusion.execution.target_partitions": "2"},
    {"datafusion.execution.target_partitions": "1"},
]
DEFAULTS = {
    "datafusion.execution.batch_size": "8192",
    "datafusion.optimizer.repartition_file_min_size": "10485760",
    "datafusion.execution.target_partitions": "2",
    "datafusion.execution.parquet.pushdown_filters": "false",
    "datafusion.optimizer.hash_join_single_partition_threshold": "1048576",
    "datafusion.optimizer.hash_join_single_partition_threshold_rows": "131072",
    "datafusion.optimizer.prefer_hash_join": "true",
}
QUERIES_OF_A_SETTING = 25
# Words of a refusal: an error that says that something is not done, which no answer of ours is wrong by.
REFUSAL = re.compile(r"not (yet )?(supported|implemented)|unsupported|does not support|only supports|refused|is not done"
                     r"|cannot be (answered|planned)", re.I)
BROKEN = re.compile(r"panick|internal error|a bug|\bbug in", re.I)


class Outcome:
    """`kind`: same, skipped, refused, differs, failed, hung or died."""

    def __init__(self, kind, text=""):
        self.kind, self.text = kind, text

    def like(self, other):
        if self.kind != other.kind:
            return False
        return self.kind in ("differs", "hung", "died") or head(self.text) == head(other.text)

    def is_bad(self):
        return self.kind in ("differs", "failed", "hung", "died")


def head(text):
    """An error without the names and numbers in it, to tell kinds of errors apart."""
    first = next((line for line in text.splitlines() if line.startswith("error")), text[:200])
    return re.sub(r"""'[^']*'|"[^"]*"|\b[jtwc]\d+\b(\.\w+)?|\d+""", "_", first)[:90]


class Battery:
    def __init__(self, binary, mode, root, seed):
        data = root / "data"
        data.mkdir()
        self.seed = seed
        self.peer = duckdb.connect()
        self.peer.execute("SET threads = 1")
        prepare = []
        for name, table, location in tables.write(random.Random(f"tables {seed}"), data):
            self.peer.register("made", table)
            self.peer.execute(f"CREATE TABLE {name} AS SELECT * FROM made")
            self.peer.unregister("made")
            prepare.append(f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{location}'")
        self.mode = mode
        self.engine = Engine(binary, mode, root, prepare=[] if mode == "flight" else prepare)

    def use(self, number):
        """The settings of the query of a number."""
        wanted = SETTINGS[number // QUERIES_OF_A_SETTING % len(SETTINGS)]
        values = {**DEFAULTS, **wanted} if self.mode == "process" else {}
        statements = [f"SET {name} = {value}" for name, value in values.items()]
        if statements == self.engine.settings:
            return
        self.engine.settings = statements
        for statement in statements:
            failed, text = self.engine.ask(statement)
            if failed:
                raise SystemExit(f"{statement}\n{text}")

    def outcome(self, tree, ordered):
        """Asks DuckDB first: what it does not take is not asked of Almagest."""
        try:
            cursor = self.peer.execute(tree.sql(DUCKDB))
            types = [str(column[1]) for column in cursor.description]
            theirs = cursor.fetchmany(ROWS_MAX + 1)
        except (duckdb.Error, RecursionError) as error:
            return Outcome("skipped", str(error))
        if len(theirs) > ROWS_MAX:
            return Outcome("skipped", "too many rows")
        limit = re.search(r"\bLIMIT (\d+)$", tree.sql(DUCKDB))
        if limit and len(theirs) > int(limit[1]):
            return Outcome("skipped", "more rows than LIMIT lets through: DuckDB 2.0 after ORDER BY of a constant")
        try:
            failed, text = self.engine.ask(tree.sql(ALMAGEST))
        except Hung as error:
            return Outcome("hung", str(error))
        except Died as error:
            return Outcome("died", str(error))
        if failed:
            refusal = REFUSAL.search(text) and not BROKEN.search(text)
            return Outcome("refused" if refusal else "failed", text)
        ours = answers.rows_of(text, types)
        found = answers.difference(ours, answers.rows_of_peer(theirs), ordered)
        return Outcome("same") if found is None else Outcome("differs", found)

    def shrink(self, tree, outcome):
        """A small query with the same kind of outcome. Its rows are compared without their order."""
        tries, limit = 0, time.monotonic() + SHRINK_SECONDS
        best = self.outcome(tree, False)
        ordered = not best.like(outcome)
        best = outcome if ordered else best
        found = True
        while found and tries < SHRINK_TRIES and time.monotonic() < limit:
            found = False
            length = len(tree.sql(ALMAGEST))
            for other in smaller(tree):
                try:
                    if len(other.sql(ALMAGEST)) >= length:
                        continue
                except (AttributeError, IndexError, TypeError):
                    continue
                if ambiguous(other) or (ordered and not in_one_order(other)):
                    continue
                tries += 1
                trial = self.outcome(other, ordered)
                if trial.like(outcome):
                    tree, best, found = other, trial, True
                    break
                if tries >= SHRINK_TRIES or time.monotonic() > limit:
                    break
        return tree, best


def in_one_order(tree):
    """Whether ORDER BY leaves one order of rows: it goes through all columns, or a unique one."""
    if any(str(node.form).endswith(".id") for node, _ in tree.order):
        return True
    select = tree
    while not hasattr(select, "items"):
        select = select.left
    return {name for _, name in select.items} <= {node.form for node, _ in tree.order}


def ambiguous(tree):
    """Whether the rows are left open, as a query that is made smaller may do."""
    takes_some = getattr(tree, "limit", None) is not None or getattr(tree, "distinct", None)
    return hasattr(tree, "order") and takes_some and not in_one_order(tree)


def run(binary, mode, root, seed, numbers, verbose):
    """Asks the queries of these numbers. Gives back how many were right, refused, skipped and wrong."""
    battery = Battery(binary, mode, root, seed)
    count = {"same": 0, "skipped": 0, "refused": 0, "bad": 0}
    refusals = {}
    try:
        for number in numbers:
            battery.use(number)
            tree, ordered = queries.query(random.Random(f"{seed} {number}"))
            outcome = battery.outcome(tree, ordered)
            if verbose:
                print(f"{number} {outcome.kind}: {tree.sql(ALMAGEST)}", flush=True)
            if not outcome.is_bad():
                count[outcome.kind] += 1
                if outcome.kind == "refused":
                    refusals.setdefault(head(outcome.text), []).append(number)
                continue
            count["bad"] += 1
            tree, outcome = battery.shrink(tree, outcome)
            tell(battery, seed, number, tree, outcome)
    finally:
        battery.engine.close()
    for words, found in sorted(refusals.items(), key=lambda pair: -len(pair[1])):
        print(f"refused {len(found)} times, as query {found[0]}: {words}")
    return count


def tell(battery, seed, number, tree, outcome):
    print(f"---- {outcome.kind}: --kind sql --mode {battery.mode} --seed {seed} --only {number}")
    for setting in battery.engine.settings:
        name, value = setting[4:].split(" = ")
        if DEFAULTS[name] != value:
            print(f"  {setting};")
    print(f"  {tree.sql(ALMAGEST)};")
    if tree.sql(ALMAGEST) != tree.sql(DUCKDB):
        print(f"  DuckDB: {tree.sql(DUCKDB)};")
    print(outcome.text[:1500], flush=True)
