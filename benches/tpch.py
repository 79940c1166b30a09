"""The 22 queries of TPC-H, beside DuckDB and, if it is given, another build of almagest.

python benches/tpch.py ALMAGEST [--against OTHER] [--scale N] [--runs N] [--data DIR] [--only N ...]

`tpchgen-cli` (from PyPI, benches/requirements.txt) writes the tables as Parquet; the queries are those of
`tests/tpch`, which checks their answers more exactly. Each engine is one process, asked in turn, one query after the other,
`--runs` times after one that is not counted. Answers must be equal. Prints medians in milliseconds and their
ratios; the last line is the geometric mean of the ratios. Not TPC-H results as the council has them.
"""

import argparse
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

import duckdb

from almagest import Almagest

QUERIES = pathlib.Path(__file__).resolve().parent.parent / "tests" / "tpch" / "queries.sql"
TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


def queries():
    found = re.findall(r"^-- (\d+): .*?\n(.*?);\n", QUERIES.read_text(), re.M | re.S)
    return [(int(number), " ".join(re.sub(r"--[^\n]*", "", sql).split())) for number, sql in found]


def made(folder, scale):
    """The tables, written once."""
    folder.mkdir(parents=True, exist_ok=True)
    if not all((folder / f"{table}.parquet").exists() for table in TABLES):
        tool = pathlib.Path(sys.executable).with_name("tpchgen-cli")
        subprocess.run([tool, "parquet", "-s", str(scale), "--output-dir", folder], check=True)
    return {table: folder / f"{table}.parquet" for table in TABLES}


def cell_of(cell):
    if cell is None or cell == "":
        return None
    try:
        return float(cell)
    except (TypeError, ValueError):
        return str(cell)


def equal(left, right):
    """In the order of the query; quotients of decimals have more digits in one than in the other."""
    cells = [[cell_of(cell) for row in rows for cell in row] for rows in (left, right)]
    def alike(one, other):
        if isinstance(one, float) and isinstance(other, float):
            return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-6)
        return one == other
    return len(cells[0]) == len(cells[1]) and all(map(alike, *cells))


class DuckDB:
    def __init__(self, tables):
        self.connection = duckdb.connect()
        self.connection.execute("SET threads = 2")
        for name, path in tables.items():
            self.connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{path}'")

    def run(self, sql):
        begun = time.perf_counter()
        rows = self.connection.execute(sql).fetchall()
        return rows, time.perf_counter() - begun


def opened(binary, tables):
    engine = Almagest(binary)
    for name, path in tables.items():
        engine.run(f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{path}'")
    return engine


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--against")
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--only", type=int, nargs="*")
    given = parser.parse_args()
    cache = pathlib.Path(os.environ.get("ALMAGEST_BENCH_CACHE", pathlib.Path.home() / ".cache/almagest/bench"))
    tables = made(given.data or cache / f"tpch-{given.scale:g}", given.scale)
    engines = {"almagest": opened(given.binary, tables), "DuckDB": DuckDB(tables)}
    if given.against:
        engines["other"] = opened(given.against, tables)
    others = [name for name in engines if name != "almagest"]
    ratios = {name: [] for name in others}
    print(f"query  {'  '.join(f'{name:>9}' for name in engines)}  {'  '.join(f'/ {name}' for name in others)}")
    for number, sql in queries():
        if given.only and number not in given.only:
            continue
        times = {name: [] for name in engines}
        answers = {}
        for run in range(given.runs + 1):
            for name, engine in engines.items():
                rows, seconds = engine.run(sql)
                answers[name] = rows
                if run:
                    times[name].append(seconds)
        for name in others:
            if not equal(answers[name], answers["almagest"]):
                sys.exit(f"query {number}: {name} answers {answers[name][:3]}, almagest {answers['almagest'][:3]}\n{sql}")
        middle = {name: statistics.median(times[name]) for name in engines}
        row = []
        for name in others:
            pairs = [ours / theirs for ours, theirs in zip(times["almagest"], times[name])]
            ratios[name].append(statistics.median(pairs))
            row.append(f"{ratios[name][-1]:.2f}")
        print(f"{number:>5}  {'  '.join(f'{middle[name] * 1000:9.1f}' for name in engines)}  {'  '.join(row)}", flush=True)
    means = {name: math.exp(statistics.mean(map(math.log, all_))) for name, all_ in ratios.items()}
    print(f"geometric mean of the ratios: {', '.join(f'{mean:.3f} to {name}' for name, mean in means.items())}")


if __name__ == "__main__":
    main()
