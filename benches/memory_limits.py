"""Joins, sorts, groups and medians of tables that are larger than the memory limit.

python benches/memory_limits.py ALMAGEST [--rows N] [--runs N] [--threads N] [--limits MB ...] [--only TEXT]:
writes two Parquet tables to a temporary folder and asks each query without a limit, then under each limit
`--runs` times, each in a process of its own. An answer must be the one that arithmetic gives, or one
sentence that says memory or disk does not suffice, within 20 times the time without a limit. Prints for each
query and limit how often it was answered, refused, wrong or too slow, the median time over the one without a limit,
and the largest resident memory. Ends with status 1 if anything was wrong, too slow or hung.

Without --rows: 20,000,000 rows, a gigabyte of Parquet, and about an hour.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

LIMITS_MB = [64, 128, 256, 1024]
TIMES = 20
# a query that is quick without a limit may take so many seconds under one
SECONDS_LEAST = 20
REFUSALS = ["memory", "spill", "disk", "exhausted"]


def tables(rows):
    """k is each of 0 to rows - 1 once, in two orders (two primes that do not divide the number of rows);
    g is one of a thousand groups."""
    columns = "value AS id, value * {prime} % {rows} AS k, value % 1000 AS g, value * 0.5 AS v"
    return {
        name: f"SELECT {columns.format(prime=prime, rows=rows)} FROM range({rows})"
        for name, prime in [("a", 7919), ("b", 104729)]
    }


def queries(rows):
    """Twelve queries, and the answers that arithmetic gives."""
    total = rows * (rows - 1) // 2
    in_group = rows // 1000
    medians = sum(g + 1000 * (in_group // 2) - 500 for g in range(1000))
    text = "md5(k::VARCHAR)"
    return {
        "join": ("SELECT count(*), sum(a.id + b.id) FROM a JOIN b ON a.k = b.k", [rows, 2 * total]),
        "join of two keys": (
            "SELECT count(*), sum(a.id + b.id) FROM a JOIN b ON a.k = b.k AND a.k % 7 = b.k % 7",
            [rows, 2 * total],
        ),
        "join of texts": (
            f"SELECT count(*), sum(length(x.s)) FROM (SELECT {text} AS s FROM a) x "
            f"JOIN (SELECT {text} AS s FROM b) y ON x.s = y.s",
            [rows, 32 * rows],
        ),
        "left join": (
            "SELECT count(*), count(b.id), sum(a.id) FROM a LEFT JOIN (SELECT * FROM b WHERE k % 2 = 0) b "
            "ON a.k = b.k",
            [rows, rows // 2, total],
        ),
        "semi join": ("SELECT count(*) FROM a WHERE k IN (SELECT k FROM b WHERE k % 4 = 1)", [rows // 4]),
        "three tables": (
            "SELECT count(*), sum(x.id) FROM a x JOIN b y ON x.k = y.k JOIN a z ON y.k = z.k",
            [rows, total],
        ),
        "join and group": (
            "SELECT count(*), sum(n) FROM (SELECT a.k % 5000000 AS h, count(*) AS n FROM a JOIN b "
            "ON a.k = b.k GROUP BY 1)",
            [min(rows, 5_000_000), rows],
        ),
        "group by texts": (
            f"SELECT count(*), sum(n) FROM (SELECT {text} AS s, count(*) AS n FROM a GROUP BY 1)",
            [rows, rows],
        ),
        "medians": (
            "SELECT count(*), sum(m)::BIGINT FROM (SELECT g, median(id) AS m FROM a GROUP BY g)",
            [1000, medians],
        ),
        "median of all": ("SELECT median(v * 2)::BIGINT FROM a", [(rows - 1) // 2]),
        "sort": (
            f"SELECT count(*) FROM (SELECT s, lag(s) OVER (ORDER BY s) AS p FROM (SELECT {text} AS s FROM a)) "
            "WHERE p <= s",
            [rows - 1],
        ),
        "windows": (
            "SELECT sum(r)::BIGINT FROM (SELECT row_number() OVER (PARTITION BY k % 10 ORDER BY k) AS r FROM a)",
            [10 * (rows // 10 * (rows // 10 + 1) // 2)],
        ),
    }


def views(data):
    return [f"CREATE VIEW {name} AS SELECT * FROM '{data}/{name}.parquet'" for name in "ab"]


def run(almagest, data, sql, options, seconds):
    """The outcome of a query: its answer, what was written of an error, its time and resident memory."""
    statements = [word for view in views(data) for word in ("-c", view)]
    words = [almagest, "-q", "--format", "csv", *options, *statements, "-c", sql]
    begun = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    largest = 0
    while process.poll() is None and time.perf_counter() - begun < seconds:
        largest = max(largest, resident(process.pid))
        time.sleep(0.02)
    took = time.perf_counter() - begun
    hung = process.poll() is None
    if hung:
        process.kill()
    out, err = process.communicate()
    lines = out.split()
    answer = [int(number) for number in lines[-1].split(",")] if process.returncode == 0 else None
    return {"answer": answer, "error": err.strip(), "time": took, "resident": largest, "hung": hung}


def resident(pid):
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def judged(outcome, expected):
    if outcome["hung"]:
        return "too slow"
    if outcome["answer"] is not None:
        return "answered" if outcome["answer"] == expected else "wrong"
    said = outcome["error"].lower()
    return "refused" if any(word in said for word in REFUSALS) and "stall" not in said else "failed"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("almagest")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limits", type=int, nargs="*", default=LIMITS_MB)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if options.rows % 10_000:
        sys.exit("--rows must be a multiple of 10,000")
    bad = 0
    with tempfile.TemporaryDirectory() as data:
        for name, sql in tables(options.rows).items():
            copy = f"COPY ({sql}) TO '{data}/{name}.parquet'"
            subprocess.run([options.almagest, "-q", "-c", copy], check=True, stdout=subprocess.DEVNULL)
        print("| query | MB | answered | refused | bad | times the time | resident MB |\n|---|---|---|---|---|---|---|")
        for name, (sql, expected) in queries(options.rows).items():
            if options.only in name:
                bad += measure(options, pathlib.Path(data), name, sql, expected)
    sys.exit(1 if bad else 0)


def measure(options, data, name, sql, expected):
    threads = ["--threads", str(options.threads)]
    free = run(options.almagest, data, sql, threads, 3600)
    if judged(free, expected) != "answered":
        print(f"| {name} | none | 0 | 0 | {free['error'] or free['answer']} | | |", flush=True)
        return 1
    bad = 0
    for limit in options.limits:
        seconds = max(SECONDS_LEAST, TIMES * free["time"])
        limited = [*threads, "--memory-limit", f"{limit}MB"]
        runs = [run(options.almagest, data, sql, limited, seconds) for _ in range(options.runs)]
        found = [judged(outcome, expected) for outcome in runs]
        others = [kind for kind in found if kind not in ("answered", "refused")]
        bad += len(others)
        ratio = statistics.median(outcome["time"] for outcome in runs) / free["time"]
        resident = max(outcome["resident"] for outcome in runs) >> 20
        counts = [found.count("answered"), found.count("refused"), " ".join(others) or 0]
        print(f"| {name} | {limit} | {' | '.join(map(str, counts))} | {ratio:.1f} | {resident} |", flush=True)
        for outcome in runs:
            if judged(outcome, expected) in ("failed", "wrong"):
                print(f"    {outcome['answer']} {outcome['error']}", file=sys.stderr)
    return bad


if __name__ == "__main__":
    main()
