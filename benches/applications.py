"""Applications A and B, and a join of two real catalogs, on two executors and in process: are they equal?

    python benches/applications.py ALMAGEST [--catalogs DIR] [--rows MILLIONS] [--work DIR] [--runs N]

A: mean, deviation, deviation of what block means leave, and of a Gaussian filter, over an 8192 x 8192
HDF5 image. B: the median transit duration by temperature, over the catalog of `almagest demo`. The join:
Gaia DR3 and Tycho-2 (DIR holds gaia_dr3_bright and tycho2, HATS catalogs), each exploded to so many rows,
by sky cell (HEALPix order 10) and copy, then grouped by cell; and one of them grouped into five million
groups. Sums are of whole numbers, so equal means equal; floats of A and B may differ by 1e-9. Times are
medians of runs that alternate, after one that warms up.
"""

import argparse
import pathlib
import statistics
import subprocess
import tempfile

from cluster import Shell

GAIA_ROWS, TYCHO_ROWS = 482_176, 1_884_462
FILES = 16


def application_a(demo):
    image = f"'{demo}/sky.h5'"
    block = "avg(value) OVER (PARTITION BY y/512, x/512)"
    return [
        f"SELECT count(*), avg(value), stddev_pop(value) FROM {image}",
        f"SELECT stddev_pop(r) FROM (SELECT value - {block} AS r FROM {image})",
        f"SELECT stddev_pop(s), stddev_pop(value - s) FROM (SELECT value, gaussian_filter(value, 2.0) AS s FROM {image})",
    ]


def application_b(demo):
    bins = "cut(stellar_teff, [3000, 4000, 5000, 6000, 7000, 8000])"
    rows = f"SELECT {bins} AS teff, count(*) AS n, median(transit_duration_hours) AS m FROM '{demo}/toi/' GROUP BY 1"
    # one line: the bins' medians in their order
    return [f"SELECT array_to_string(array_agg(concat(teff, ' ', n, ' ', m) ORDER BY teff), '; ') FROM ({rows})"]


def join(work):
    joined = f"""SELECT g.cell, count(*) AS n, sum(g.mag) AS gaia, sum(t.mag) AS tycho, max(g.id) AS last
        FROM '{work}/gaia/' g JOIN '{work}/tycho/' t ON g.cell = t.cell AND g.copy = t.copy GROUP BY g.cell"""
    groups = f"""SELECT id % 5000000 AS k, count(*) AS n, sum(mag) AS mag FROM '{work}/tycho/' GROUP BY 1"""
    return [
        " ".join(f"SELECT count(*), sum(n), sum(gaia), sum(tycho), max(last), sum(cell % 1009 * n) FROM ({joined})".split()),
        " ".join(f"SELECT count(*), sum(n), max(n), sum(k % 1009 * mag) FROM ({groups})".split()),
    ]


def explode(almagest, catalogs, work, millions):
    for name, folder, id_column, mag, rows in [
        ("gaia", "gaia_dr3_bright", "source_id", "phot_g_mean_mag", GAIA_ROWS),
        ("tycho", "tycho2/tycho2", "tyc_row", "vt_mag", TYCHO_ROWS),
    ]:
        target = work / name
        if target.exists():
            continue
        copies = -(-millions * 1_000_000 // rows)
        source = next(pathlib.Path(catalogs, folder).rglob("dataset"))
        for part in range(FILES):
            sql = f"""COPY (SELECT {id_column} % 1000000007 * {copies} + i AS id, _healpix_29 >> 38 AS cell, i AS copy,
                round({mag} * 1000)::BIGINT AS mag FROM '{source}/' CROSS JOIN
                generate_series({part}, {copies} - 1, {FILES}) c(i)) TO '{target}/{part}.parquet' STORED AS PARQUET"""
            subprocess.run([almagest, "-q", "-c", sql], check=True, stdout=subprocess.DEVNULL)


def cells(line):
    """Numbers as numbers, and the rest as it is."""
    for cell in line.replace('"', "").replace(";", ",").replace(" ", ",").split(","):
        try:
            yield float(cell)
        except ValueError:
            yield cell


def agree(one, other):
    one, other = list(cells(one)), list(cells(other))
    close = lambda a, b: a == b or (isinstance(a, float) and isinstance(b, float) and abs(a - b) <= 1e-9 * abs(a))
    return len(one) == len(other) and all(map(close, one, other))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("almagest")
    parser.add_argument("--catalogs")
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--work", help="keeps the data here [default: a temporary folder]")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    kept = tempfile.TemporaryDirectory() if arguments.work is None else None
    work = pathlib.Path(arguments.work or kept.name).resolve()
    work.mkdir(parents=True, exist_ok=True)
    demo = work / "demo"
    subprocess.run([arguments.almagest, "demo", "-q", "--dir", str(demo)], check=True, stdout=subprocess.DEVNULL)
    tasks = {"A": application_a(demo), "B": application_b(demo)}
    if arguments.catalogs:
        explode(arguments.almagest, arguments.catalogs, work, arguments.rows)
        tasks["join and GROUP BY of two catalogs"] = join(work)
    else:
        print("the join of real catalogs is left out: name their folder with --catalogs")
    here = Shell(arguments.almagest)
    there = Shell(arguments.almagest, "--cluster", "local:2")
    for name, statements in tasks.items():
        if arguments.only not in name:
            continue
        times = {"here": [], "there": []}
        for run in range(arguments.runs + 1):
            totals = {"here": 0.0, "there": 0.0}
            for sql in statements:
                (one, mine), (two, theirs) = here.ask(sql), there.ask(sql)
                totals["here"] += one
                totals["there"] += two
                if not agree(mine, theirs):
                    raise SystemExit(f"{name} differs: {mine} here, {theirs} on two executors\n  {sql}")
            for place, seconds in totals.items() if run > 0 else ():  # the first warms up
                times[place].append(seconds)
        mine, theirs = (statistics.median(times[place]) for place in ("here", "there"))
        print(f"{name}: equal; {mine:.2f} s here, {theirs:.2f} s on two executors, ratio {theirs / mine:.2f}", flush=True)
        for sql in statements:
            print(f"  {here.ask(sql)[1][:200]}")
    here.end()
    there.end()


if __name__ == "__main__":
    main()
