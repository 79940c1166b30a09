"""What a task and a shuffle cost a scheduler, for the calculation in docs/scale.md.

    python benches/scale.py ALMAGEST [--runs N]

Starts a scheduler and two executors of one core, and runs queries of almost no work in 16 to 512 tasks.
The scheduler's processor time is read from the system, so what the executors do does not count. It grows
with the tasks, with the square of the tasks of a stage (a report of a task copies those of all others),
with tasks times files (the plan of a task is cut out of a copy of the whole), and in a shuffle with the
parts (tasks that write times tasks that read); the factors are fitted by least squares. A stack of HDF5
files is opened by whoever reads of it; that is the executors' time. Bytes of a shuffle are what the
executors write for rows of two and of four columns of eight random bytes. Needs numpy and psutil.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
import psutil

from cluster import Shell

FILES = [64, 512]
SCANS = [(16, 64), (32, 64), (64, 64), (16, 512), (64, 512), (128, 512), (256, 512), (512, 512)]
SHUFFLES = [(8, 64), (16, 64), (32, 64), (64, 64), (96, 512), (128, 512), (192, 512)]
STACKED_FILES, STACK_TASKS = [32, 256], [8, 64]
SHUFFLED_ROWS = 4_000_000
MODULUS = 4_611_686_018_427_387_847
SCRAMBLE = [2_862_933_555_777_941_757, 3_202_034_522_624_059_733, 2_685_821_657_736_338_717, 1_181_783_497_276_652_981]


def cpu(process):
    times = process.cpu_times()
    return times.user + times.system


def written(processes):
    return sum(process.io_counters().write_chars for process in processes)


class Cluster:
    def __init__(self, almagest, folder):
        words = [almagest, "scheduler", "--quiet", "--port", "0"]
        self.scheduler = psutil.Popen(words, stdout=subprocess.PIPE, text=True)
        self.url = self.scheduler.stdout.readline().strip()
        words = [almagest, "executor", "--quiet", "--scheduler", self.url, "--cores", "1", "--work-dir", folder]
        self.executors = [psutil.Popen([*words, "--name", f"e{n}"]) for n in range(2)]

    def end(self):
        for process in [*self.executors, self.scheduler]:
            process.terminate()
            process.wait()


def write(almagest, folder, files):
    """A folder of files with one row each, so that each can be a task."""
    copies = (
        f"COPY (SELECT {file} AS k, {file} * 7 AS v) TO '{folder}/{file:04}.parquet' STORED AS PARQUET;"
        for file in range(files)
    )
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([almagest, "-q"], input="\n".join(copies), text=True, **quiet)


def write_stack(almagest, folder, files):
    """Images of 64 x 64 that a glob stacks."""
    copies = (
        f"COPY (SELECT y, x, value FROM random_normal([64, 64], seed => {file})) "
        f"TO '{folder}/{file:04}.h5' STORED AS HDF5 OPTIONS ('chunks' '16,64');"
        for file in range(files)
    )
    quiet = {"check": True, "stdout": subprocess.DEVNULL}
    subprocess.run([almagest, "-q"], input="\n".join(copies), text=True, **quiet)


def told(name):
    """Bytes that docs/scale.md tells, which a unit test compares with what is sent."""
    document = (pathlib.Path(__file__).parent.parent / "docs/scale.md").read_text()
    line = next(line for line in document.splitlines() if line.startswith(f"| {name} |"))
    return float(line.split("|")[2].strip().removesuffix(" B").replace(",", ""))


def calculation(fit):
    """What stages of many tasks cost, if the factors hold."""
    query, task, pair, file, part = fit / 1e3
    place, settings = told("the place of one part of a shuffle"), told("the settings of a task")
    print("\n| tasks of a stage | a scan, s | with a shuffle, s | places sent, GB | settings sent, GB |\n|---|---|---|---|---|")
    for tasks in [1_000, 4_000, 16_000, 64_000]:
        scan = query + task * tasks + pair * tasks**2
        shuffle = scan + task * tasks + pair * tasks**2 + part * tasks**2
        sent = [tasks**2 * place / 1e9, 2 * tasks * settings / 1e9]
        print(f"| {tasks:,} | {scan:,.0f} | {shuffle:,.0f} | {sent[0]:,.1f} | {sent[1]:,.2f} |")
    for files in [100_000, 10_000_000]:
        print(f"{files:,} files in 1,000 tasks: {file * files * 1000:,.0f} s more")


def measure(arguments, folder, cluster):
    shell = Shell(arguments.almagest, "--cluster", cluster.url)
    shell.ask("SELECT 1")
    points = []
    print("| query | files | tasks | parts of shuffles | scheduler, ms of processor | whole, ms |")
    print("|---|---|---|---|---|---|")
    for name, size, files in [("scan", *scan) for scan in SCANS] + [("shuffle", *shuffle) for shuffle in SHUFFLES]:
        rows = f"SELECT k, sum(v) AS s FROM '{folder}/{files}/' GROUP BY k"
        sql = f"SELECT sum(v) FROM '{folder}/{files}/'" if name == "scan" else f"SELECT sum(s) FROM ({rows})"
        # the setting answers with nothing, and the question after it with a row
        print(f"SET datafusion.execution.target_partitions = {size};", file=shell.process.stdin, flush=True)
        used, took = [], []
        for run in range(arguments.runs + 1):
            before = cpu(cluster.scheduler)
            took.append(shell.ask(sql)[0] * 1e3)
            used.append((cpu(cluster.scheduler) - before) * 1e3)
        # the first warms up; the system counts in steps of 10 ms, so the mean is what remains
        used, took = np.mean(used[1:]), np.median(took[1:])
        # a scan's tasks and the one that adds up; a shuffle has as many that read
        stages, parts = (1, size) if name == "scan" else (2, size * size + size)
        tasks = stages * size + 1
        points.append((tasks, stages * size * size, size * files, parts, used))
        print(f"| {name} | {files} | {tasks} | {parts} | {used:.0f} | {took:.0f} |", flush=True)
    *columns, used = map(np.array, zip(*points))
    fit, *_ = np.linalg.lstsq(np.stack([np.ones_like(used), *columns], axis=1), used, rcond=None)
    print(f"\nof the scheduler: a query {fit[0]:.0f} ms, a task {fit[1]:.2f} ms, two tasks of a stage", end=" ")
    print(f"{fit[2] * 1e3:.1f} us, a task and a file {fit[3] * 1e3:.1f} us, a part of a shuffle {fit[4] * 1e3:.1f} us")
    calculation(fit)
    print("\n| files of a stack | tasks | executors, ms of processor | scheduler, ms | whole, ms |\n|---|---|---|---|---|")
    for files in STACKED_FILES:
        sql = f"SELECT sum(value) FROM read_hdf5('{folder}/stack{files}/*.h5', stack => 'night')"
        for size in STACK_TASKS:
            print(f"SET datafusion.execution.target_partitions = {size};", file=shell.process.stdin, flush=True)
            shell.ask(sql)
            before, of_scheduler = sum(map(cpu, cluster.executors)), cpu(cluster.scheduler)
            took = np.median([shell.ask(sql)[0] * 1e3 for _ in range(arguments.runs)])
            used = (sum(map(cpu, cluster.executors)) - before) * 1e3 / arguments.runs
            planned = (cpu(cluster.scheduler) - of_scheduler) * 1e3 / arguments.runs
            print(f"| {files} | {size} | {used:.0f} | {planned:.0f} | {took:.0f} |", flush=True)
    for columns in [2, 4]:
        # a product modulo a number of 62 bits leaves nothing that a codec could save
        random = lambda n: f"(value * {SCRAMBLE[n]}::DECIMAL(38, 0) % {MODULUS})::BIGINT AS c{n}"
        sums = "".join(f", sum(c{n}) AS s{n}" for n in range(1, columns))
        used = "".join(f", sum(s{n} % 10)" for n in range(1, columns))
        table = f"SELECT {', '.join(map(random, range(columns)))} FROM generate_series(1, {SHUFFLED_ROWS})"
        before = written(cluster.executors)
        print("SET datafusion.execution.target_partitions = 8;", file=shell.process.stdin, flush=True)
        took, row = shell.ask(f"SELECT count(*){used} FROM (SELECT c0{sums} FROM ({table}) GROUP BY c0)")
        each = (written(cluster.executors) - before) / SHUFFLED_ROWS
        print(f"a row of {columns} columns of 8 bytes: {each:.1f} bytes written, {took:.1f} s, {row.partition(',')[0]} groups")
    shell.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("almagest")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        for files in FILES:
            write(arguments.almagest, folder / str(files), files)
        for files in STACKED_FILES:
            write_stack(arguments.almagest, folder / f"stack{files}", files)
        cluster = Cluster(arguments.almagest, folder)
        try:
            measure(arguments, folder, cluster)
        finally:
            cluster.end()


if __name__ == "__main__":
    main()
