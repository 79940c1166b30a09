"""One long-lived `almagest` that is asked statement by statement, through pipes.

Modes: `process` runs statements in the command itself, `cluster` on two executors that it starts, `flight`
on an `almagest serve` of the same folder. `--keep-going` makes it go on after a failure; each statement's
messages end with a line such as `3 rows in 0.012 s`. Not here: what is asked.
"""

import os
import pathlib
import re
import selectors
import signal
import subprocess
import time

END = re.compile(rb"^(done|failed|\d+ rows?) in [0-9.]+ s$")
CLUSTER = ["--cluster", "local:2"]
MODES = ("process", "cluster", "flight")


class Hung(Exception):
    pass


class Died(Exception):
    pass


class Engine:
    """`prepare` holds statements that are run at each start."""

    def __init__(self, binary, mode, root, arguments=(), prepare=(), seconds_max=120,
                 serve_arguments=()):
        self.binary, self.mode, self.root = binary, mode, pathlib.Path(root)
        self.arguments, self.prepare, self.seconds_max = list(arguments), list(prepare), seconds_max
        self.serve_arguments = list(serve_arguments)
        self.settings = []
        self.server = self.child = None
        self.starts = 0

    def environment(self):
        nowhere = str(self.root / "nowhere")
        return {**os.environ, "XDG_CONFIG_HOME": nowhere, "XDG_STATE_HOME": nowhere, "NO_COLOR": "1"}

    def start(self):
        command = [self.binary, "--format", "csv", "--progress", "never", "--keep-going", *self.arguments]
        if self.mode == "flight":
            command += ["--connect", self.serve()]
        elif self.mode == "cluster":
            command += CLUSTER
        pipe = subprocess.PIPE
        self.child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=self.environment(), cwd=self.root)
        self.starts += 1
        for stream in (self.child.stdout, self.child.stderr):
            os.set_blocking(stream.fileno(), False)
        self.errors = b""
        for statement in (*self.prepare, *self.settings):
            failed, text = self.ask(statement)
            if failed:
                raise SystemExit(f"a statement that prepares failed: {statement}\n{text}")

    def serve(self):
        if self.server is None or self.server.poll() is not None:
            port_file = self.root / "port"
            port_file.unlink(missing_ok=True)
            command = [self.binary, "serve", "--data", str(self.root / "data"), "--anonymous", "--flight", "127.0.0.1:0",
                       "--port-file", str(port_file), "--quiet", *self.serve_arguments]
            with open(self.root / "server.log", "ab") as log:
                self.server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                               env=self.environment())
            started = time.monotonic()
            while not (port_file.exists() and port_file.read_text().strip()):
                if self.server.poll() is not None or time.monotonic() - started > 120:
                    raise SystemExit(f"the server does not start; see {self.root / 'server.log'}")
                time.sleep(0.05)
        return "grpc://" + (self.root / "port").read_text().strip()

    def ask(self, statement):
        """Whether the statement failed, and its answer as CSV or its messages.

        Raises Hung after `seconds_max`, Died if the command ended; the next call starts another."""
        if self.child is None:
            self.start()
        try:
            self.child.stdin.write(statement.encode() + b"\n;\n")
            self.child.stdin.flush()
            return self.answer()
        except BrokenPipeError:
            messages = self.errors.decode(errors="replace")
            self.stop()
            raise Died(messages) from None

    def answer(self):
        written, messages = bytearray(), []
        child, limit = self.child, time.monotonic() + self.seconds_max
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            selector.register(child.stderr, selectors.EVENT_READ)
            while True:
                if time.monotonic() > limit:
                    self.stop()
                    raise Hung(f"no answer within {self.seconds_max} s")
                for key, _ in selector.select(1.0):
                    piece = os.read(key.fd, 1 << 20)
                    if not piece:
                        selector.unregister(key.fileobj)
                    if key.fileobj is child.stdout:
                        written += piece
                    else:
                        self.errors += piece
                *lines, self.errors = self.errors.split(b"\n")
                for line in lines:
                    messages.append(line)
                    if END.match(line):
                        written += rest_of(child.stdout)
                        text = b"\n".join(messages[:-1]).decode(errors="replace")
                        failed = line.startswith(b"failed")
                        return failed, text if failed else written.decode()
                if child.poll() is not None and not selector.get_map():
                    text = b"\n".join(messages).decode(errors="replace")
                    status = child.returncode
                    self.stop()
                    raise Died(f"the command ended with status {status}: {text[-2000:]}")

    def stop(self):
        """Ends the command. The server stays."""
        if self.child is None:
            return
        self.child.stdin.close() if self.child.poll() is None else None
        try:
            self.child.wait(5)
        except subprocess.TimeoutExpired:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        for stream in (self.child.stdout, self.child.stderr):
            stream.close()
        self.child = None

    def close(self):
        self.stop()
        if self.server is not None and self.server.poll() is None:
            self.server.send_signal(signal.SIGTERM)
            try:
                self.server.wait(20)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()


def rest_of(stream):
    """What is written already: an answer is whole before the line that ends its messages."""
    written = bytearray()
    while True:
        try:
            piece = os.read(stream.fileno(), 1 << 20)
        except BlockingIOError:
            return written
        if not piece:
            return written
        written += piece
