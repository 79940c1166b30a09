"""What `almagest serve` costs: wire speed, memory, latency, and many clients at once.

    python benches/flight.py ALMAGEST MEMORY_SERVER stream [--gib N] [--runs N]
    python benches/flight.py ALMAGEST MEMORY_SERVER latency [--seconds N]
    python benches/flight.py ALMAGEST MEMORY_SERVER soak [--seconds N] [--clients N]

Needs pyarrow and psutil. MEMORY_SERVER is `benches/memory-server`: arrow-flight as it is, which sends
the same batches from memory. `stream` fetches an Arrow file from both, one after the other.
"""

import argparse
import collections
import multiprocessing
import pathlib
import random
import signal
import statistics
import subprocess
import tempfile
import threading
import time

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.flight as flight

MIB = 1 << 20
BATCH_ROWS = 8192
COLUMNS = 8
ENDLESS = (
    "SELECT sum(a.value * b.value) FROM generate_series(1, 100000000) a, "
    "generate_series(1, 100000000) b"
)


def varint(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out + bytes([number]))


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def command(sql):
    """CommandStatementQuery of Flight SQL, in its google.protobuf.Any."""
    name = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    return flight.FlightDescriptor.for_command(field(1, name) + field(2, field(1, sql.encode())))


class Client:
    def __init__(self, address):
        self.client = flight.FlightClient(address)

    def begin(self, sql):
        return self.client.get_flight_info(command(sql))

    def fetch(self, info):
        return self.client.do_get(info.endpoints[0].ticket)

    def rows(self, sql):
        return self.fetch(self.begin(sql)).read_all()

    def cancel(self, info):
        action = flight.Action("CancelFlightInfo", field(1, info.serialize()))
        list(self.client.do_action(action))


class Server:
    def __init__(self, words):
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address.startswith("grpc://"):
            raise SystemExit(f"{words[0]} does not start")
        self.seen = psutil.Process(self.process.pid)

    def memory(self):
        return self.seen.memory_info().rss

    def end(self):
        self.process.terminate()
        self.process.wait()


def serve(almagest, data, *more):
    words = [almagest, "serve", "--flight", "127.0.0.1:0", "--anonymous", "--threads", "2"]
    return Server(words + ["--data", str(data), *more])


class Peak:
    """The most memory that a process has while this is open."""

    def __init__(self, server):
        self.server, self.over = server, threading.Event()
        self.before = self.most = server.memory()

    def watch(self):
        while not self.over.wait(0.01):
            self.most = max(self.most, self.server.memory())

    def __enter__(self):
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    @property
    def growth(self):
        return (self.most - self.before) / MIB


def drain(reader):
    size = 0
    for chunk in reader:
        size += chunk.data.nbytes
    return size


def write(path, gib):
    schema = pa.schema([(f"c{column}", pa.float64()) for column in range(COLUMNS)])
    random_numbers = np.random.default_rng(1)
    batches = int(gib * 1024 * MIB / (BATCH_ROWS * COLUMNS * 8))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for _ in range(batches):
            columns = random_numbers.random((COLUMNS, BATCH_ROWS))
            writer.write_batch(pa.record_batch([pa.array(c) for c in columns], schema=schema))
    return batches * BATCH_ROWS


def stream(arguments, folder):
    data = folder / "data"
    data.mkdir()
    rows = write(data / "t.arrow", arguments.gib)
    memory = Server([arguments.memory_server, str(data / "t.arrow")])
    ours = serve(arguments.almagest, data)
    plain, client = flight.FlightClient(memory.address), Client(ours.address)
    assert client.rows("SELECT count(*) FROM t")[0][0].as_py() == rows
    times, growths = collections.defaultdict(list), []
    for _ in range(arguments.runs):
        begun = time.perf_counter()
        size = drain(plain.do_get(flight.Ticket(b"")))
        times["memory"].append(time.perf_counter() - begun)
        with Peak(ours) as peak:
            begun = time.perf_counter()
            assert drain(client.fetch(client.begin("SELECT * FROM t"))) == size
            times["ours"].append(time.perf_counter() - begun)
        growths.append(peak.growth)
        print(f"  memory {times['memory'][-1]:.2f} s, ours {times['ours'][-1]:.2f} s, growth {peak.growth:.0f} MiB", flush=True)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"{size / 1024 / MIB:.2f} GiB: arrow-flight from memory {size / MIB / medians['memory']:.0f} MiB/s, "
          f"almagest {size / MIB / medians['ours']:.0f} MiB/s, "
          f"{medians['memory'] / medians['ours']:.2f} of its speed (bar 0.60)")
    print(f"memory grew by at most {max(growths):.0f} MiB (bar 150)")
    memory.end()
    ours.end()


def latency(arguments, folder):
    ours = serve(arguments.almagest, folder)
    client = Client(ours.address)
    client.rows("SELECT 1")

    def asked(seconds):
        times, until = [], time.perf_counter() + seconds
        while time.perf_counter() < until:
            begun = time.perf_counter()
            assert client.rows("SELECT 1")[0][0].as_py() == 1
            times.append(1000 * (time.perf_counter() - begun))
        times.sort()
        return times

    def told(what, times):
        p = lambda part: times[min(int(len(times) * part), len(times) - 1)]
        print(f"{what}: {len(times)} queries, median {p(0.5):.2f} ms, p99 {p(0.99):.2f} ms, most {times[-1]:.2f} ms")

    told("SELECT 1 alone", asked(arguments.seconds))
    other = Client(ours.address)
    info = other.begin(ENDLESS)
    runs = threading.Thread(target=lambda: swallow(lambda: other.fetch(info).read_all()))
    runs.start()
    time.sleep(1)
    told("SELECT 1 beside a query on all threads (bar: p99 10 ms)", asked(arguments.seconds))
    other.cancel(info)
    runs.join()
    ours.end()


def swallow(action):
    try:
        return action()
    except flight.FlightError:
        return None


QUERIES = [
    ("SELECT 1", 1),
    ("SELECT count(*) FROM t WHERE c0 < 0.5", None),
    ("SELECT round(c1 * 10) AS b, avg(c0) FROM t GROUP BY 1 ORDER BY 1", 11),
    ("SELECT * FROM t LIMIT 1000", 1000),
    ("SELECT avg(gaussian_filter(value, 2.0)) FROM random_normal([512, 512], seed => 1)", 1),
]


def one_client(address, seed, seconds, outcomes):
    """Short queries, long ones, cancels and disconnects, by chance."""
    chance, until = random.Random(seed), time.time() + seconds
    counts, errors = collections.Counter(), []
    client = Client(address)
    while time.time() < until:
        action = chance.choice(["short"] * 6 + ["cancel", "leave", "half", "wrong"])
        try:
            if action == "short":
                sql, rows = chance.choice(QUERIES)
                answer = client.rows(sql)
                if rows is not None and answer.num_rows != rows:
                    errors.append(f"{sql} gave {answer.num_rows} rows")
            elif action == "cancel":
                info = client.begin(ENDLESS)
                timer = threading.Timer(chance.random(), lambda: swallow(lambda: client.cancel(info)))
                timer.start()
                try:
                    client.fetch(info).read_all()
                    errors.append("an endless query ended")
                except flight.FlightCancelledError:
                    pass
                timer.join()
            elif action == "leave":
                reader = client.fetch(client.begin("SELECT * FROM t"))
                reader.read_chunk()
                client.client.close()
                client = Client(address)
            elif action == "half":
                reader = client.fetch(client.begin("SELECT * FROM t"))
                reader.read_chunk()
                reader.cancel()
            else:
                try:
                    client.rows("SELECT nothing FROM t")
                    errors.append("a wrong query was answered")
                except pa.ArrowInvalid:
                    pass
            counts[action] += 1
        except Exception as error:
            errors.append(f"{action}: {type(error).__name__}: {str(error)[:200]}")
    outcomes.put((counts, errors))


def many_clients(address, first, count, seconds, outcomes):
    signal.signal(signal.SIGINT, lambda *_: None)
    threads = [
        threading.Thread(target=one_client, args=(address, first + number, seconds, outcomes))
        for number in range(count)
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


def soak(arguments, folder):
    data = folder / "data"
    data.mkdir()
    write(data / "t.arrow", 0.125)
    limits = ["--max-queries", "8"]
    ours = serve(arguments.almagest, data, "--memory-limit", "1GB", *limits)
    client = Client(ours.address)

    def state():
        return ours.memory() / MIB, ours.seen.num_fds(), ours.seen.num_threads()

    # gRPC does not live through a fork
    new = multiprocessing.get_context("spawn")
    outcomes = new.Queue()
    processes = 4
    share = arguments.clients // processes
    workers = [
        new.Process(target=many_clients, args=(ours.address, w * share, share, arguments.seconds, outcomes))
        for w in range(processes)
    ]
    print("seconds, MiB, handles, threads")
    print("0, %.0f, %d, %d" % state(), flush=True)
    begun = time.time()
    [worker.start() for worker in workers]
    while time.time() - begun < arguments.seconds:
        time.sleep(arguments.seconds / 10)
        print(f"{time.time() - begun:.0f}, %.0f, %d, %d" % state(), flush=True)
    counts, errors = collections.Counter(), []
    for _ in range(processes * share):
        some, wrong = outcomes.get()
        counts += some
        errors += wrong
    [worker.join() for worker in workers]
    time.sleep(5)
    print("after, %.0f, %d, %d" % state())
    assert client.rows("SELECT 1")[0][0].as_py() == 1
    print(f"{processes * share} clients, {sum(counts.values())} actions: {dict(counts)}")
    print(f"{len(errors)} errors that are not the clients' own")
    for error, count in collections.Counter(errors).most_common(10):
        print(f"  {count} x {error}")
    ours.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("almagest")
    parser.add_argument("memory_server")
    parser.add_argument("what", choices=["stream", "latency", "soak"])
    parser.add_argument("--gib", type=float, default=2.0)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--clients", type=int, default=64)
    arguments = parser.parse_args()
    # pyarrow takes a cancelled stream for a Ctrl-C, and raises one
    signal.signal(signal.SIGINT, lambda *_: None)
    arguments.seconds = arguments.seconds or (300 if arguments.what == "soak" else 15)
    with tempfile.TemporaryDirectory() as folder:
        globals()[arguments.what](arguments, pathlib.Path(folder).resolve())


if __name__ == "__main__":
    main()
