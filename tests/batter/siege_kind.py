"""A server under siege: clients that do their worst, and sixteen honest ones beside them.

The honest ones ask what arithmetic answers. A wrong answer, a refused one or a lost one is a failure, and so is
a server that ended. Told are also the times in which they were answered and what memory the server held: its
growth from the second third of the time to the last. Hostile are: statements of every shape up to a megabyte,
queries without an end, values without an end, joins and sorts beyond the memory, constants that take hours to
fold, random queries, damaged files, and connections that ask for nothing.
Not here: which statements (`worst.py`), how a statement is sent (`flight_client.py`).
"""

import os
import random
import socket
import statistics
import subprocess
import threading
import time

import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as parquet

import queries
import tables
import worst
from engine import Engine
from flight_client import Client
from syntax import ALMAGEST

HONEST = 16
PAUSE_SECONDS = 0.2
# What an honest client waits at most: the server's own queue and its limits are part of that.
SECONDS_MAX = 120
# Seconds until a hostile client gives a query up.
PATIENCE = (0.2, 2, 10)
ROWS = 200_000


class Siege:
    def __init__(self, binary, root, seed, seconds):
        self.binary, self.root, self.seed = binary, root, seed
        self.end = time.monotonic() + seconds
        self.data = root / "data"
        self.data.mkdir()
        for name in ("damaged",):
            (self.data / name).mkdir()
        rows = pa.table({"id": range(ROWS), "g": [row % 1000 for row in range(ROWS)]})
        parquet.write_table(rows, self.data / "known.parquet", row_group_size=10_000)
        tables.write(random.Random(f"tables {seed}"), self.data)
        self.good = (self.data / "known.parquet").read_bytes()
        self.token = self.user()
        arguments = ["--users", str(root / "users.toml"), "--query-memory", "256MB", "--memory-limit", "1GB",
                     "--time-limit", "30", "--first-request-timeout", "5", "--spill-limit", "8GB"]
        self.engine = Engine(binary, "flight", root, serve_arguments=arguments)
        self.address = self.engine.serve()
        self.lock = threading.Lock()
        self.times, self.faults, self.hostile = [], [], {}
        self.resident = []

    def user(self):
        made = subprocess.run([self.binary, "serve", "--make-user", "honest"], input="a password of the siege\n",
                              capture_output=True, text=True, env=self.environment(), check=True)
        path = self.root / "users.toml"
        path.write_text(made.stdout)
        path.chmod(0o600)
        return made.stderr.rsplit(": ", 1)[1].strip()

    def environment(self):
        nowhere = str(self.root / "nowhere")
        return {**os.environ, "XDG_CONFIG_HOME": nowhere, "XDG_STATE_HOME": nowhere}

    def goes_on(self):
        return time.monotonic() < self.end and self.engine.server.poll() is None

    def fault(self, text):
        with self.lock:
            self.faults.append(text)

    def honest(self, number):
        dice = random.Random(f"honest {self.seed} {number}")
        client = Client(self.address, self.token, SECONDS_MAX)
        while self.goes_on():
            n, g = dice.randrange(1, 5000), dice.randrange(1000)
            sql, right = dice.choice([
                (f"SELECT sum(value) + {n} FROM generate_series(1, 1000)", 500_500 + n),
                (f"SELECT count(*) FROM known WHERE id < {n}", n),
                (f"SELECT sum(id) FROM known WHERE g = {g}", sum(range(g, ROWS, 1000))),
                (f"SELECT count(DISTINCT g) FROM known WHERE id < {n}", min(n, 1000)),
                (f"SELECT max(id) FROM known WHERE g IN (SELECT {g})", ROWS - 1000 + g),
                (f"SELECT {n}", n),
            ])
            begun = time.monotonic()
            try:
                found = client.ask(sql).column(0)[0].as_py()
                if found != right:
                    self.fault(f"{sql}: {found}, not {right}")
            except (flight.FlightError, pa.ArrowException, OSError) as error:
                if self.goes_on():
                    self.fault(f"{sql}: {str(error)[:500]}")
            with self.lock:
                self.times.append(time.monotonic() - begun)
            time.sleep(PAUSE_SECONDS * dice.random() * 2)

    def told(self, kind, error):
        """Counts how a hostile statement ended: a panic, a bug or a lost connection is a fault."""
        text = str(error)
        with self.lock:
            of_kind = self.hostile.setdefault(kind, [0, 0])
            of_kind[0 if error is None else 1] += 1
        if error is not None and any(word in text for word in ("panick", "bug in almagest", "Socket closed", "refused the conn")):
            self.fault(f"{kind}: {text[:500]}")

    def attack(self, kind, statements):
        """Asks statements, each in a session that may be a new one, and gives many up."""
        dice = random.Random(f"{kind} {self.seed}")
        client = None
        for sql in statements(dice):
            if not self.goes_on():
                return
            if client is None or dice.random() < 0.3:
                client = Client(self.address, None, dice.choice(PATIENCE))
            try:
                client.ask(sql)
                self.told(kind, None)
            except (flight.FlightError, pa.ArrowException, OSError) as error:
                self.told(kind, error)

    def keep(self):
        """Prepares long statements until the server has enough."""
        dice = random.Random(f"keep {self.seed}")
        while self.goes_on():
            client = Client(self.address, None, 10)
            for number in range(200):
                text = "x" * dice.randrange(900_000)
                try:
                    if number % 2:
                        client.prepare(f"SELECT '{text}'")
                    else:
                        client.ask(f"CREATE VIEW v{number} AS SELECT '{text}' AS a")
                    self.told("keeps", None)
                except (flight.FlightError, pa.ArrowException, OSError) as error:
                    self.told("keeps", error)
                    break
            client.close()

    def damage(self):
        """Damages a file while it is read."""
        dice = random.Random(f"damage {self.seed}")
        client = Client(self.address, None, 10)
        while self.goes_on():
            bytes_ = bytearray(self.good)
            for _ in range(dice.randrange(1, 5)):
                bytes_[dice.choice([dice.randrange(len(bytes_)), len(bytes_) - 1 - dice.randrange(3000)])] = dice.randrange(256)
            (self.data / "damaged" / "x.parquet").write_bytes(bytes_)
            for sql in ("SELECT count(*), sum(id) FROM 'damaged/x.parquet'", "SELECT * FROM 'damaged/x.parquet' WHERE g = 3"):
                try:
                    client.ask(sql)
                    self.told("damaged files", None)
                except (flight.FlightError, pa.ArrowException, OSError) as error:
                    self.told("damaged files", error)

    def connect(self):
        """Connections that say nothing, half a sentence, or nonsense."""
        dice = random.Random(f"connect {self.seed}")
        address = self.address.removeprefix("grpc://").rsplit(":", 1)
        sockets = []
        while self.goes_on():
            try:
                one = socket.create_connection((address[0], int(address[1])), timeout=5)
                preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
                one.sendall(dice.choice([b"", preface, preface + preface, dice.randbytes(2000), b"GET / HTTP/1.1\r\n"]))
                sockets.append(one)
            except OSError:
                pass
            if len(sockets) > 150:
                sockets.pop(0).close()
            time.sleep(0.05)

    def watch(self):
        while self.goes_on():
            with open(f"/proc/{self.engine.server.pid}/statm") as file:
                self.resident.append(int(file.read().split()[1]) * 4096 >> 20)
            time.sleep(0.5)

    def run(self):
        def random_queries(dice):
            while True:
                query, _ = queries.query(dice)
                yield query.sql(ALMAGEST)

        works = [(self.honest, (number,)) for number in range(HONEST)]
        works += [(self.attack, (kind, statements)) for kind, statements in worst.KINDS.items()]
        works += [(self.attack, ("random queries", random_queries)), (self.keep, ()), (self.damage, ()),
                  (self.connect, ()), (self.watch, ())]
        threads = [threading.Thread(target=work, args=given, daemon=True) for work, given in works]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0, self.end - time.monotonic()) + SECONDS_MAX)
        if self.engine.server.poll() is not None:
            self.fault(f"the server ended after {time.monotonic() - begun:.0f} s: {self.engine.server.poll()}; "
                       f"{(self.root / 'server.log').read_text()[-2000:]}")
        else:
            # what was begun ends, and all that was held is let go of
            time.sleep(3)
            left = Client(self.address, self.token, 30).ask("SELECT 1").num_rows
            assert left == 1
        self.engine.close()
        return self.tell()

    def tell(self):
        times = sorted(self.times)
        third = len(self.resident) // 3
        def held(part):
            return max(part, default=0)
        print(f"honest answers: {len(times)}, median {statistics.median(times) * 1000:.0f} ms, "
              f"99 of 100 within {times[len(times) * 99 // 100] * 1000:.0f} ms, longest {times[-1]:.1f} s")
        print(f"memory of the server, most of each third: {held(self.resident[:third])}, "
              f"{held(self.resident[third:2 * third])}, {held(self.resident[2 * third:])} MiB")
        for kind, (answered, refused) in sorted(self.hostile.items()):
            print(f"{kind}: {answered} answered, {refused} refused or given up")
        for fault in self.faults[:20]:
            print(f"FAULT {fault}")
        return {"same": len(times) - len(self.faults), "refused": 0, "bad": len(self.faults), "skipped": 0}


def run(binary, root, seed, seconds):
    return Siege(binary, root, seed, seconds).run()
