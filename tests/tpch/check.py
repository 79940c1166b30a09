"""TPC-H: the answers of Almagest, in one process and on two executors, against DuckDB's.

python tests/tpch/check.py ALMAGEST [--scale 1] [--data DIR]: needs duckdb and tpchgen-cli from PyPI, and
writes its data (0.4 GB at scale 1) to a temporary folder or to DIR. Numbers must agree to 1e-9; the
quotient of two decimals, which DuckDB gives as a double and SQL as a decimal that is cut after six or
more digits, to one in the last of these.
"""

import argparse
import decimal
import json
import math
import pathlib
import re
import subprocess
import tempfile
import time

import duckdb

HERE = pathlib.Path(__file__).parent
TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]
PARTS = 8


def queries():
    text = (HERE / "queries.sql").read_text()
    found = re.findall(r"^-- (\d+): (.*?)\n(.*?);\n", text, re.M | re.S)
    assert [int(number) for number, _, _ in found] == list(range(1, 23))
    return found


def generate(scale, data):
    for table in TABLES:
        parts = PARTS if table not in ("nation", "region") else 1
        arguments = ["parquet", "-s", str(scale), f"--tables={table}", f"--parts={parts}"]
        subprocess.run(["tpchgen-cli", *arguments, f"--output-dir={data}"], check=True)


class Shell:
    """A session of Almagest that is asked one statement at a time."""

    def __init__(self, almagest, data, *arguments):
        words = [almagest, "--format", "ndjson", "--quiet", "--threads", "2", *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(words, **pipes, text=True, bufsize=1)
        for table in TABLES:
            self.send(f"CREATE EXTERNAL TABLE {table} STORED AS PARQUET LOCATION '{data}/{table}/'")

    def send(self, sql):
        print(sql + ";", file=self.process.stdin, flush=True)

    def ask(self, sql):
        self.send(sql)
        self.send("SELECT 'the end' AS mark")
        rows = []
        for line in self.process.stdout:
            row = json.loads(line, parse_float=decimal.Decimal)
            if row == {"mark": "the end"}:
                return rows
            rows.append(list(row.values()))
        raise SystemExit(f"the session ended at\n{sql}")

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def same(ours, theirs):
    if isinstance(theirs, (int, float, decimal.Decimal)):
        cut = isinstance(theirs, float) and isinstance(ours, decimal.Decimal)
        digits = -ours.as_tuple().exponent if cut else 0
        last = 10.0**-digits if digits >= 6 else 0.0
        return math.isclose(float(ours), float(theirs), rel_tol=1e-9, abs_tol=last)
    return str(ours).strip() == str(theirs).strip()


def differs(ours, theirs):
    if len(ours) != len(theirs):
        return f"{len(ours)} rows, DuckDB {len(theirs)}"
    for number, (left, right) in enumerate(zip(ours, theirs)):
        if len(left) != len(right) or not all(map(same, left, right)):
            return f"row {number + 1}: {left}, DuckDB {right}"
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("almagest")
    parser.add_argument("--scale", type=float, default=1)
    parser.add_argument("--data", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        data = arguments.data or pathlib.Path(temporary)
        if not (data / "region").exists():
            generate(arguments.scale, data)
        duck = duckdb.connect(config={"threads": 2})
        for table in TABLES:
            duck.sql(f"CREATE VIEW {table} AS FROM read_parquet('{data}/{table}/*.parquet')")
        places = {
            "one process": Shell(arguments.almagest, data),
            "local:2": Shell(arguments.almagest, data, "--cluster", "local:2"),
        }
        right = dict.fromkeys(places, 0)
        print("| query | DuckDB, ms | one process, ms | `local:2`, ms |\n|---|---|---|---|")
        for number, name, sql in queries():
            begun = time.perf_counter()
            theirs = duck.sql(sql).fetchall()
            cells = [f"{(time.perf_counter() - begun) * 1e3:.0f}"]
            for place, shell in places.items():
                begun = time.perf_counter()
                ours = shell.ask(sql)
                took = time.perf_counter() - begun
                problem = differs(ours, theirs)
                right[place] += problem is None
                cells.append(f"{took * 1e3:.0f}" if problem is None else f"**wrong**: {problem}")
            print(f"| {number} {name} | " + " | ".join(cells) + " |", flush=True)
        for shell in places.values():
            shell.end()
    print("\n" + "; ".join(f"{place}: {count} of 22 right" for place, count in right.items()))
    raise SystemExit(any(count != 22 for count in right.values()))


if __name__ == "__main__":
    main()
