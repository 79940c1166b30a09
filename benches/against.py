"""Two builds of almagest, asked the same in turn: is the new one slower, and where?

python benches/against.py ALMAGEST OTHER [--size 4096] [--rows 4000000] [--runs 9] [--only TEXT]

Arrays (an HDF5 file of `--size` squared, raw and compressed), tables (Parquet and CSV of `--rows` rows)
and statements that are mostly planned. Each build is one process with two threads; the order changes from
run to run, after one that is not counted. Answers must be equal. Prints the medians in milliseconds, the
ratio, and the least and most of the ratios of pairs; the last line is the geometric mean.
"""

import argparse
import math
import pathlib
import statistics
import tempfile

import h5py
import numpy as np

from almagest import Almagest

FILTERS = [
    "gaussian_filter(value, 2.0)", "median_filter(value, 3)", "median_filter(value, 5)",
    "percentile_filter(value, 20, 3)", "uniform_filter(value, 15)", "maximum_filter(value, 15)",
    "minimum_filter(value, 5)", "rank_filter(value, 2, 3)", "sobel(value, 0)", "laplace(value)",
]


def made(folder, size, rows):
    """The files, and a statement for each table."""
    random = np.random.default_rng(7)
    image = random.normal(250, 15, (size, size)).astype("f4")
    with h5py.File(folder / "image.h5", "w") as file:
        chunks = (min(512, size), min(512, size))
        file.create_dataset("raw", data=image, chunks=chunks)
        file.create_dataset("whole", data=image.astype("i2"), chunks=chunks)
        file.create_dataset("double", data=image.astype("f8"), chunks=chunks)
        file.create_dataset("packed", data=image.astype("i2"), chunks=chunks, compression="gzip", shuffle=True)
    columns = (
        "value AS id, value * 7919 % 1000003 AS k, value % 1000 AS g, sin(value::DOUBLE) AS v, "
        "'name ' || (value % 5000) AS name, arrow_cast(value * 60, 'Timestamp(Second, None)') AS at"
    )
    return [
        f"COPY (SELECT {columns} FROM range({rows})) TO '{folder}/t.parquet'",
        f"COPY (SELECT {columns} FROM range({rows // 4})) TO '{folder}/t.csv'",
    ]


def questions(folder):
    raw, whole, double, packed = (
        f"read_hdf5('{folder}/image.h5', dataset => '{name}')" for name in ["raw", "whole", "double", "packed"]
    )
    table, text = f"'{folder}/t.parquet'", f"'{folder}/t.csv'"
    yield from ((f"{name}: {sql}", f"SELECT {sql} FROM {source}") for name, source, sql in [
        ("raw", raw, "avg(value)"), ("raw", raw, "stddev_pop(value)"), ("raw", raw, "min(value), max(value)"),
        ("raw", raw, "median(value)"), ("integers", whole, "sum(value)"), ("double", double, "avg(value)"),
        ("packed", packed, "avg(value)"), ("raw", raw, "count(*) FILTER (WHERE value > 260)"),
    ])
    for name, source in [("raw", raw), ("integers", whole), ("double", double)]:
        yield from ((f"{name}: {sql}", f"SELECT stddev_pop({sql}) FROM {source}") for sql in FILTERS)
    yield "mean by row", f"SELECT sum(m) FROM (SELECT y, avg(value) AS m FROM {raw} GROUP BY y)"
    yield "mean by block", f"SELECT sum(m) FROM (SELECT y / 512, x / 512, avg(value) AS m FROM {raw} GROUP BY 1, 2)"
    yield "rows of pixels", f"SELECT count(*) FROM {raw} WHERE value > 290 AND x % 3 = 1"
    yield "group by 1000", f"SELECT sum(m) FROM (SELECT g, avg(v) AS m FROM {table} GROUP BY g)"
    yield "group by text", f"SELECT count(*) FROM (SELECT name, max(v) FROM {table} GROUP BY name)"
    yield "group by millions", f"SELECT count(*), sum(m) FROM (SELECT k, min(id) AS m FROM {table} GROUP BY k)"
    yield "median by 1000", f"SELECT sum(m) FROM (SELECT g, median(v) AS m FROM {table} GROUP BY g)"
    yield "join", f"SELECT count(*) FROM {table} a JOIN {table} b ON a.id = b.k"
    yield "join on floats", f"SELECT count(*) FROM {table} a JOIN {table} b ON a.v = b.v"
    yield "sort and limit", f"SELECT id, v FROM {table} ORDER BY v LIMIT 5"
    yield "window over sorted parts", f"SELECT sum(r) FROM (SELECT row_number() OVER (PARTITION BY g ORDER BY v) AS r FROM {table})"
    yield "moving mean", f"SELECT sum(m) FROM (SELECT avg(v) OVER (ORDER BY id ROWS 9 PRECEDING) AS m FROM {table})"
    yield "filter of floats", f"SELECT count(*) FROM {table} WHERE v > 0.5 AND v < 0.75"
    yield "by month", f"SELECT count(*) FROM (SELECT date_trunc('month', at), sum(v) FROM {table} GROUP BY 1)"
    yield "CSV: sum", f"SELECT sum(v) FROM {text}"
    yield "CSV: group by text", f"SELECT count(*) FROM (SELECT name, sum(v) FROM {text} GROUP BY name)"
    yield "SELECT 1", "SELECT 1"
    chain = " + ".join(f"a{i}.value" for i in range(12))
    joins = " ".join(f"JOIN range(3) a{i} ON a{i}.value = a0.value" for i in range(1, 12))
    yield "planning: 12 joins", f"SELECT sum({chain}) FROM range(3) a0 {joins}"
    yield "planning: 400 terms", "SELECT " + " + ".join(["1"] * 400)
    ctes = ", ".join(f"c{i} AS (SELECT value + {i} AS value FROM {'range(9)' if not i else f'c{i - 1}'})" for i in range(40))
    yield "planning: 40 WITH", f"WITH {ctes} SELECT sum(value) FROM c39"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("almagest", type=pathlib.Path)
    parser.add_argument("other", type=pathlib.Path)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--only", default="", help="questions whose names hold this text")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        builds = [Almagest(arguments.almagest.resolve()), Almagest(arguments.other.resolve())]
        for statement in made(folder, arguments.size, arguments.rows):
            builds[1].run(statement)
        print(f"{'':48} {'almagest':>9} {'other':>9} {'ratio':>6}  pairs")
        ratios = []
        for title, sql in questions(folder):
            if arguments.only not in title:
                continue
            times = [[], []]
            for run in range(arguments.runs + 1):
                answers = {}
                for which in (0, 1) if run % 2 else (1, 0):
                    answers[which], seconds = builds[which].run(sql)
                    if run:
                        times[which].append(seconds)
                if not equal(answers[0], answers[1]):
                    raise SystemExit(f"{title}: {answers[0][:3]} and {answers[1][:3]}")
            ours, other = (statistics.median(seconds) for seconds in times)
            pairs = sorted(a / b for a, b in zip(*times))
            ratios.append(ours / other)
            print(f"{title[:48]:48} {ours * 1e3:9.1f} {other * 1e3:9.1f} {ours / other:6.2f}  {pairs[0]:.2f} to {pairs[-1]:.2f}", flush=True)
        for build in builds:
            build.end()
        mean = math.exp(statistics.fmean(math.log(ratio) for ratio in ratios))
        print(f"geometric mean of {len(ratios)} ratios: {mean:.3f}")


def equal(left, right):
    """Sums of floats depend on who came first; nothing else may differ."""
    def alike(one, other):
        try:
            return math.isclose(float(one), float(other), rel_tol=1e-9, abs_tol=1e-9)
        except ValueError:
            return one == other
    return len(left) == len(right) and all(
        len(a) == len(b) and all(map(alike, a, b)) for a, b in zip(left, right))


if __name__ == "__main__":
    main()
