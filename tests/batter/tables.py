"""The tables that queries are asked of: the same columns in each, written as Parquet in unlike ways.

Small row groups and pages, several files, sorted and not, with statistics: what an engine skips by
statistics, pruning or dynamic filters it skips here. Values lie close together, so that joins meet, and
hold what goes wrong: NULL, NaN, -0.0, infinities, the ends of integers, empty and many-byte texts.
Doubles of column `y` are quarters, so that sums do not depend on their order.
"""

import datetime
import decimal
import math
import struct

import pyarrow as pa
import pyarrow.parquet

# Column, type as `expressions.py` calls it.
COLUMNS = [("id", "i"), ("k", "i"), ("a", "i"), ("big", "I"), ("y", "f"), ("x", "f"), ("r", "r"), ("s", "s"),
           ("d", "d"), ("ts", "t"), ("p", "b"), ("n", "n")]
TEXTS = ["", "a", "b", "ab", "abc", "ABC", "a%b", "a_b", "ä", "Ω", "🙂", "é🙂x", " a ", "zz", "longer than twelve bytes",
         "longer than twelve bytes!"]
WILD = [0.0, -0.0, 15.3, 0.1, 1e20, 1e300, -1e300, 5e-324, math.inf, -math.inf, math.nan, 1.0, 2.0, 3.0, -1.5]
BIG = [2**63 - 1, 2**63 - 2, -2**63, -2**63 + 1, 2**53, 2**53 + 1, 0, 1, -1, 5]
REALS = [struct.unpack("f", struct.pack("f", value))[0] for value in (15.3, 0.1, 1e20, -0.0, 0.0, 1.0, 2.5, 3.4e38)]
REALS += [math.nan, math.inf, -math.inf]

# Name, rows, files, rows of a row group, share of NULL, the column it is sorted by, type of `k`.
LAYOUTS = [
    ("t1", 300, 1, 25, 0.05, "id", pa.int64()),
    ("t2", 40, 1, 40, 0.10, None, pa.int32()),
    ("t3", 0, 1, 10, 0.00, None, pa.int64()),
    ("t4", 120, 5, 8, 0.10, None, pa.int64()),
    ("t5", 30, 1, 7, 0.60, "k", pa.int16()),
    ("t6", 200, 1, 10, 0.02, "x", pa.int32()),
    ("t7", 150, 4, 12, 0.10, "k", pa.int64()),
]


def value(random, type, name, missing):
    if random.random() < missing:
        return None
    if name == "k":
        return random.randrange(30)
    if type == "i":
        return random.randint(-5, 5)
    if type == "I":
        return random.choice(BIG)
    if name == "y":
        unusual = [math.nan, math.inf, -math.inf, -0.0]
        return random.choice(unusual) if random.random() < 0.08 else random.randint(-40, 40) / 4
    if type == "f":
        return random.choice(WILD)
    if type == "r":
        return random.choice(REALS)
    if type == "s":
        return random.choice(TEXTS)
    if type == "d":
        return datetime.date(2024, 2, 20) + datetime.timedelta(days=random.randrange(30))
    if type == "t":
        return datetime.datetime(2024, 2, 28) + datetime.timedelta(microseconds=random.randrange(40) * 7_200_000_001)
    if type == "b":
        return random.random() < 0.5
    return decimal.Decimal(random.randint(-300, 300)) / 100


def key(name):
    def ordered(row):
        item = row[name]
        unordered = isinstance(item, float) and math.isnan(item)
        return (item is None, unordered, 0 if item is None or unordered else item)

    return ordered


def arrow_type(name, type, k_type):
    if name == "k":
        return k_type
    kinds = {"i": pa.int64(), "I": pa.int64(), "f": pa.float64(), "r": pa.float32(), "s": pa.string(), "d": pa.date32(),
             "t": pa.timestamp("us"), "b": pa.bool_(), "n": pa.decimal128(10, 2)}
    return kinds[type]


def make(random, layout):
    """One table. Its columns stand in an order of its own: plans that go by position must not mix them."""
    name, rows, _, _, missing, sorted_by, k_type = layout
    columns = COLUMNS[:]
    random.shuffle(columns)
    made = [{column: value(random, type, column, missing) for column, type in columns} for _ in range(rows)]
    for number, row in enumerate(made):
        row["id"] = number
    random.shuffle(made)
    if sorted_by:
        made.sort(key=key(sorted_by))
    schema = pa.schema([(column, arrow_type(column, type, k_type)) for column, type in columns])
    return pa.Table.from_pylist(made, schema=schema)


def write(random, folder):
    """Writes all tables into a folder. Gives back name, Arrow table and location of each."""
    written = []
    for layout in LAYOUTS:
        name, rows, files, group, *_ = layout
        table = make(random, layout)
        options = dict(row_group_size=group, data_page_size=64, write_page_index=True, write_statistics=True,
                       max_rows_per_page=5, use_dictionary=random.random() < 0.5)
        if files == 1:
            location = folder / f"{name}.parquet"
            pyarrow.parquet.write_table(table, location, **options)
        else:
            location = folder / name
            location.mkdir()
            step = -(-rows // files)
            for part in range(files):
                rows_of_part = table.slice(part * step, step)
                pyarrow.parquet.write_table(rows_of_part, location / f"part-{part}.parquet", **options)
            pyarrow.parquet.write_table(table.slice(0, 0), location / "part-none.parquet", **options)
        written.append((name, table, location))
    return written
