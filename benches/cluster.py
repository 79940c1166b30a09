"""What two executors of one core cost over one process of two threads, on the same machine.

python benches/cluster.py ALMAGEST [--runs N]: writes its data to a temporary folder, runs each query
alternately in both, and prints medians and their ratio. Answers must agree to 1e-9.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

ROWS = 4_000_000


def queries(data):
    image = f"'{data}/image.h5'"
    block = "avg(value) OVER (PARTITION BY y/512, x/512)"
    return {
        "mean, deviation": f"SELECT avg(value), stddev_pop(value) FROM {image}",
        "deviation by block": f"SELECT stddev_pop(r) FROM (SELECT value - {block} AS r FROM {image})",
        "mean by x": f"SELECT sum(m) FROM (SELECT x, avg(value) AS m FROM {image} GROUP BY x)",
        "gaussian_filter": f"SELECT stddev_pop(gaussian_filter(value, 2.0)) FROM {image}",
        "shuffle join, GROUP BY": "SELECT count(*), sum(n), sum(s) FROM (SELECT a.k % 100000 AS g, "
        f"count(*) AS n, sum(a.v * b.w) AS s FROM '{data}/a/' a JOIN '{data}/b/' b ON a.k = b.k GROUP BY 1)",
        "small": f"SELECT count(*) FROM '{data}/a/0.parquet' WHERE k < 10",
        "SELECT 1": "SELECT 1",
    }


def write(almagest, data):
    image = "SELECT y, x, value FROM random_normal([8192, 8192], seed => 1, chunks => [512, 512])"
    statements = [f"COPY ({image}) TO '{data}/image.h5' STORED AS HDF5 OPTIONS ('chunks' '512,512')"]
    for table, column, factor in [("a", "v", 7), ("b", "w", 11)]:
        for part in range(8):
            rows = f"SELECT i * {factor} % {ROWS} AS k, i % 1000 / 1000.0 AS {column} "
            rows += f"FROM generate_series({part}, {ROWS} - 1, 8) t(i)"
            statements.append(f"COPY ({rows}) TO '{data}/{table}/{part}.parquet' STORED AS PARQUET")
    for statement in statements:
        subprocess.run([almagest, "-q", "-c", statement], check=True, stdout=subprocess.DEVNULL)


class Shell:
    """A session that is asked one statement at a time."""

    def __init__(self, almagest, *arguments):
        words = [almagest, "--format", "csv", "--quiet", "--threads", "2", *arguments]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(words, **pipes, text=True, bufsize=1)

    def ask(self, sql):
        begun = time.perf_counter()
        print(sql + ";", file=self.process.stdin, flush=True)
        self.process.stdout.readline()
        row = self.process.stdout.readline().strip()
        return time.perf_counter() - begun, row

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("almagest")
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as data:
        write(arguments.almagest, pathlib.Path(data))
        here, there = Shell(arguments.almagest), Shell(arguments.almagest, "--cluster", "local:2")
        print("| query | one process, ms | `local:2`, ms | ratio |\n|---|---|---|---|")
        for name, sql in queries(data).items():
            times = [], []
            for run in range(arguments.runs + 1):
                (took, row), (took_there, row_there) = here.ask(sql), there.ask(sql)
                for cell, other in zip(row.split(","), row_there.split(","), strict=True):
                    cell, other = float(cell), float(other)
                    assert abs(cell - other) <= 1e-9 * abs(cell), (name, row, row_there)
                if run > 0:  # the first warms up
                    times[0].append(took * 1e3)
                    times[1].append(took_there * 1e3)
            one, two = map(statistics.median, times)
            print(f"| {name} | {one:.1f} | {two:.1f} | {two / one:.2f} |", flush=True)
        here.end()
        there.end()


if __name__ == "__main__":
    main()
