"""Ours, the peer's and the machine's figures in one run. Started by benches/run."""
import argparse
import os
import re
import statistics
import sys
import time

import numpy as np

import data
import filters
import limits
import peers
from almagest import Almagest, explained, start_seconds
from peers import DAYS, EDGES, dask_image, duckdb_case, numpy_image

BINARY = os.path.abspath(os.environ["ALMAGEST_BIN"])
CACHE = os.environ["ALMAGEST_BENCH_CACHE"]
README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")
TABLE, FILTERS = "table", "filters"


def check(name, ours, expected, tolerance=1e-6):
    """Ends the bench if answers differ: a wrong answer has no speed."""
    ours, expected = (np.asarray(a, dtype="f8").ravel() for a in (ours, expected))
    if ours.shape != expected.shape or not np.allclose(ours, expected, rtol=tolerance, atol=0):
        raise SystemExit(f"{name}: answers differ\n  ours     {ours}\n  expected {expected}")


def spread(seconds):
    low, mid, high = min(seconds), statistics.median(seconds), max(seconds)
    return f"{mid * 1e3:.0f} ({low * 1e3:.0f}–{high * 1e3:.0f})"


class Bench:
    def __init__(self, repeats):
        self.repeats = repeats
        self.engine = Almagest(BINARY)
        self.rows, self.failed, self.files = [], [], []

    def compare(self, name, sql, peers_, expected=None, answer=None, bytes_count=None):
        """Times ours and each peer in turn. `peers_`: (name, function, the ratio wanted)."""
        answer = answer or (lambda rows: rows)
        rows, _ = self.engine.run(sql)  # also warms the page cache
        check(name, answer(rows), expected)
        for peer, work, _ in peers_:
            result = work()
            if peer in ("Dask", "Dask, by chunk", "h5py+NumPy", "SciPy", "dask-image",
                        "dask-image, by chunk"):
                check(f"{name}, {peer}", result, expected, 1e-4)  # they add in f4
        ours, theirs = [], [[] for _ in peers_]
        for _ in range(self.repeats):
            self.warm()
            ours.append(self.engine.run(sql)[1])
            for seconds, (_, work, _) in zip(theirs, peers_):
                self.warm()
                started = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - started)
        rate = f"{bytes_count / statistics.median(ours) / 1e9:.2f}" if bytes_count else ""
        for seconds, (peer, _, bar) in zip(theirs, peers_):
            ratio = statistics.median(seconds) / statistics.median(ours)
            met = "" if bar is None else ("yes" if ratio >= bar else "**no**")
            wanted = "" if bar is None else f"{bar:g}"
            self.rows.append((name, spread(ours), rate, peer, spread(seconds), f"{ratio:.1f}",
                              wanted, met))
            print("  " + " | ".join(self.rows[-1]), flush=True)

    def warm(self):
        """Reads the files that are measured, so that each run finds them in the page cache."""
        for path in self.files:
            with open(path, "rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass

    def pair(self, name, ours, bytes_count, peer, seconds, bar):
        """A figure of ours that was measured elsewhere in this run."""
        ratio = statistics.median(seconds) / ours
        self.rows.append((name, f"{ours * 1e3:.0f}", f"{bytes_count / ours / 1e9:.2f}", peer,
                          spread(seconds), f"{ratio:.2f}", f"{bar:.2f}",
                          "yes" if ratio >= bar else "**no**"))
        print("  " + " | ".join(self.rows[-1]), flush=True)

    def median(self, sql):
        """Seconds of a statement, the page cache warm."""
        self.engine.run(sql)
        return statistics.median(self.engine.run(sql)[1] for _ in range(self.repeats))

    def ratio(self, sql, base):
        """The time of a statement over that of another, the medians of 21 runs in turn."""
        seconds = {sql: [], base: []}
        for _ in range(21 + 1):
            for statement, all_ in seconds.items():
                all_.append(self.engine.run(statement)[1])
        return statistics.median(seconds[sql][1:]) / statistics.median(seconds[base][1:])

    def fact(self, name, value, wanted, met):
        self.rows.append((name, value, "", "", "", "", wanted, "yes" if met else "**no**"))
        print("  " + " | ".join(self.rows[-1]), flush=True)


def application_a(bench, size):
    raw, packed = data.image(CACHE, size, False), data.image(CACHE, size, True)
    bench.files = [raw, packed]
    with peers.h5py.File(raw) as f:
        whole = f["image"][...].astype("f8")
    count = size * size * 4
    number = lambda rows: float(rows[0][0])
    column = lambda rows: [float(row[1]) for row in rows]
    for kind, path, dask_bar in (("raw", raw, 6), ("gzip", packed, 5)):
        table = f"'{path}'"
        for what, sql, work, expected in (
            ("mean", "avg", lambda a: a.mean(), whole.mean()),
            ("deviation", "stddev_pop", lambda a: a.std(), whole.std()),
        ):
            bench.compare(
                f"{what}, {kind}", f"SELECT {sql}(value) FROM {table}",
                [("Dask", dask_image(path, work), dask_bar),
                 ("Dask, by chunk", dask_image(path, work, min(512, size)), dask_bar),
                 ("h5py+NumPy", numpy_image(path, lambda d: work(d[...])),
                  3 if kind == "raw" else None)],
                expected, number, count)
        for axis, name in ((0, "x"), (1, "y")):
            bench.compare(
                f"mean by {name}, {kind}",
                f"SELECT {name}, avg(value) FROM {table} GROUP BY {name} ORDER BY {name}",
                [("Dask", dask_image(path, lambda a: a.mean(axis=axis)), 4),
                 ("Dask, by chunk",
                  dask_image(path, lambda a: a.mean(axis=axis), min(512, size)), 4),
                 ("h5py+NumPy", numpy_image(path, lambda d: d[...].mean(axis=axis)), None)],
                whole.mean(axis=axis), column, count)
    side = min(512, size)
    low, high = size // 8, size // 4
    bench.compare(
        "mean of a slice, gzip",
        f"SELECT avg(value) FROM '{packed}' WHERE y >= {low} AND y < {high} AND x < {low}",
        [("Dask", dask_image(packed, lambda a: a[low:high, :low].mean(), side), None),
         ("h5py+NumPy", numpy_image(packed, lambda d: d[low:high, :low].mean()), None)],
        whole[low:high, :low].mean(), number)


def keyed(rows, keys):
    """Values in the order of their keys, NULL and out-of-range groups left out."""
    label = lambda text: float(re.sub(r"^[\[(]", "", text).split(",")[0])
    kept = [[label(k) for k in row[:keys]] + [float(v) for v in row[keys:]]
            for row in rows if all(row[:keys])]
    return sorted(kept)


def expected_rows(rows, keys):
    return sorted([float(v) for v in row] for row in rows if None not in row[:keys])


def application_b(bench, rows, csv_rows):
    folder, duck = data.catalog(CACHE, rows), peers.DuckDb()
    parquet = f"'{folder}/*.parquet'"
    teff, days = f"cut(stellar_teff, {EDGES})", f"cut(period_days, {DAYS})"
    duck_teff, duck_days = duckdb_case("stellar_teff", EDGES), duckdb_case("period_days", DAYS)
    hours = "transit_duration_hours"
    three = f"avg({hours}), stddev({hours}), count({hours})"

    def compare(name, keys, theirs, values, table, duck_table, more=()):
        names = ", ".join(str(i + 1) for i in range(len(keys)))
        sql = "SELECT {}, {} FROM {} GROUP BY {}"
        query = duck.query(sql.format(", ".join(theirs), values, duck_table, names))
        bench.compare(name, sql.format(", ".join(keys), values, table, names),
                      [("DuckDB", query, 1), *more], expected_rows(query(), len(keys)),
                      lambda rows: keyed(rows, len(keys)))

    compare("mean, deviation, count by bin", [teff], [duck_teff], three, parquet, parquet,
            [("Polars", peers.polars_bins(folder), None)])
    compare("median by bin", [teff], [duck_teff], f"median({hours})", parquet, parquet)
    compare("median by two keys", [teff, days], [duck_teff, duck_days], f"median({hours})",
            parquet, parquet)
    csv = data.csv(CACHE, csv_rows)
    compare("mean, deviation, count by bin, CSV", [teff], [duck_teff], three, f"'{csv}'",
            f"'{csv}'")


def growth_and_memory(bench, size, huge):
    single, fourfold = data.pattern(CACHE, size), data.pattern(CACHE, 2 * size)
    seconds = {path: [] for path in (single, fourfold)}
    for _ in range(bench.repeats + 1):
        for path in seconds:
            seconds[path].append(bench.engine.run(f"SELECT avg(value) FROM '{path}'")[1])
    ratio = statistics.median(seconds[fourfold][1:]) / statistics.median(seconds[single][1:])
    bench.fact(f"time of {2 * size}² over {size}² (4 × the pixels), gzip", f"{ratio:.2f} ×",
               "≤ 4.4 ×", ratio <= 4.4)

    big = data.pattern(CACHE, huge)
    table = f"FROM '{big}' WHERE y BETWEEN {huge // 2 - 50} AND {huge // 2 + 49} " \
            f"AND x BETWEEN {huge // 2 - 50} AND {huge // 2 + 49}"
    bench.engine.run(f"SELECT avg(value) {table}")
    slices = [bench.engine.run(f"SELECT avg(value) {table}")[1] for _ in range(bench.repeats)]
    bench.fact(f"mean of 100 × 100 pixels of {huge}², over four chunks, ms", spread(slices),
               "milliseconds", statistics.median(slices) < 0.1)
    found = re.findall(r"chunks_read=(\d+)", explained(BINARY, f"SELECT avg(value) {table}"))
    chunks = sum(map(int, found)) if found else None
    bench.fact("  chunks read for it", str(chunks), "≤ 4", chunks is not None and chunks <= 4)

    pixels = (np.arange(512 * 512) % 251).astype("f8")
    for name, sql, expected in (
        ("mean", "SELECT avg(value) FROM '{}'", pixels.mean()),
        ("deviation", "SELECT stddev_pop(value) FROM '{}'", pixels.std()),
        ("mean by x, summed", "SELECT sum(m) FROM (SELECT x, avg(value) AS m FROM '{}' GROUP BY x)",
         pixels.mean() * huge),
    ):
        engine = Almagest(BINARY, "--memory-limit", "256MB")
        rows, elapsed = engine.run(sql.format(big))
        check(name, float(rows[0][0]), expected)
        peak = engine.end() / 1e6
        gib = huge * huge * 4 / 2**30
        bench.fact(f"peak memory, {name} of {gib:g} GiB with --memory-limit 256MB "
                   f"({elapsed:.1f} s)", f"{peak:.0f} MB", "< 700 MB", peak < 700)


def filters_and_blocks(bench, size, huge):
    path, other = data.image(CACHE, size, False), data.image(CACHE, size, False, 43)
    bench.files = [path, other]
    filters.filters(bench, path, size, 2048, data.image(CACHE, 2048, False))
    filters.kernels(bench, size)
    filters.blocks_and_zips(bench, path, other, size)

    def chunks_read(sql):
        found = re.findall(r"chunks_read=(\d+)", explained(BINARY, sql))
        return sum(map(int, found))

    def peak(sql):
        engine = Almagest(BINARY, "--memory-limit", "256MB")
        _, elapsed = engine.run(sql)
        return engine.end(), elapsed

    filters.windows_and_memory(bench, data.pattern(CACHE, huge), huge, chunks_read, peak)


def report(bench, rows, roof, data_):
    lines = [
        f"{data_}, two threads, {os.cpu_count()} cores; times in ms: median (least–most) of "
        f"{bench.repeats}.", "",
        "| | ours | GB/s | peer | peer's | ratio | wanted | met |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["", "| the machine's limit, GB/s | one thread | two threads |", "|---|---|---|"]
    lines += [f"| {name} | {one:.2f} | {two:.2f} |" for name, one, two in roof]
    return "\n".join(lines)


def publish(name, table):
    """Puts a table between its marks in README.md."""
    with open(README, encoding="utf-8") as file:
        text = file.read()
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, after = text.split(begin)[0], text.split(end)[1]
    with open(README, "w", encoding="utf-8") as file:
        file.write(f"{before}{begin}\n{table}\n{end}{after}")


def main():
    parser = argparse.ArgumentParser(prog="benches/run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small data; only prints")
    parser.add_argument("--only", choices=["a", "b", "filters", "rest"], help="one part; all but the filters only print")
    parser.add_argument("--repeats", type=int, default=None, help="runs of each pair [7, quick 3]")
    arguments = parser.parse_args()
    quick = arguments.quick
    size, huge = (2048, 16384) if quick else (8192, 65536)
    rows, csv_rows = (1_000_000, 200_000) if quick else (20_000_000, 5_000_000)
    bench = Bench(arguments.repeats or (3 if quick else 7))
    parts = {
        FILTERS: lambda: filters_and_blocks(bench, size, huge),
        "a": lambda: application_a(bench, size),
        "b": lambda: application_b(bench, rows, csv_rows),
        "rest": lambda: growth_and_memory(bench, size, huge),
    }
    of_filters = []
    for name, part in parts.items():
        if arguments.only in (None, name):
            part()
            if name == FILTERS:
                of_filters, bench.rows = bench.rows, []
    starts = [start_seconds(BINARY) for _ in range(bench.repeats)]
    bench.fact("start to the answer of SELECT 1, ms", spread(starts), "< 100",
               statistics.median(starts) < 0.1)
    bench.engine.end()
    roof = limits.measure(data.image(CACHE, size, False))
    image = f"{size} × {size} `f4`"
    catalogs = f"{image}, {rows:,} catalog rows, {csv_rows:,} CSV rows"
    tables = {FILTERS: report(bench, of_filters, roof, image),
              TABLE: report(bench, bench.rows, roof, catalogs)}
    if arguments.only:
        del tables[TABLE if arguments.only == FILTERS else FILTERS]
    for name, table in tables.items():
        print("\n" + table)
        if not quick and arguments.only in (None, FILTERS):
            publish(name, table)


if __name__ == "__main__":
    sys.exit(main())
