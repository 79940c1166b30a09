"""Drives the `almagest` command."""
import csv
import io
import os
import queue
import re
import subprocess
import threading
import time

SUMMARY = re.compile(rb"^(done|1 row|(\d+) rows)( in .*)?$")


class Almagest:
    """One running process: statements go in by its pipe, so its start is not in their times.
    Answers must have no line breaks in their values."""

    def __init__(self, binary, *options):
        command = [binary, "--format", "csv", "--progress", "never", "--threads", "2", *options]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.pieces = queue.Queue()  # filled by a thread: an answer may be larger than the pipe
        threading.Thread(target=self.drain, daemon=True).start()

    def drain(self):
        """Takes what comes as it is: finding its lines would take time from what is measured."""
        while piece := os.read(self.process.stdout.fileno(), 1 << 20):
            self.pieces.put(piece)

    def run(self, sql):
        """The rows and the seconds from sending the statement to its last byte."""
        started = time.perf_counter()
        self.process.stdin.write(sql.encode() + b";\n")
        self.process.stdin.flush()
        line = self.process.stderr.readline()
        seconds = time.perf_counter() - started
        found = SUMMARY.match(line.rstrip())
        if not found:
            self.process.stdin.close()
            raise SystemExit(f"{sql}\n{line.decode()}{self.process.stderr.read().decode()}")
        if found[1] == b"done":
            return [], seconds
        count = int(found[2] or 1)
        answer = b""
        while answer.count(b"\n") < count + 1:
            answer += self.pieces.get(timeout=60)
        return list(csv.reader(io.StringIO(answer.decode())))[1:], seconds

    def end(self):
        """The peak of memory in bytes. (`ru_maxrss` would begin with this Python's own.)"""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            peak = next(line for line in status if line.startswith("VmHWM:"))
        self.process.stdin.close()
        if self.process.wait():
            raise SystemExit(self.process.stderr.read().decode())
        return int(peak.split()[1]) * 1024


def explained(binary, sql):
    """The plan with its counters, as text of many lines."""
    command = [binary, "--threads", "2", "-c", f"EXPLAIN ANALYZE {sql}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def start_seconds(binary):
    started = time.perf_counter()
    subprocess.run([binary, "-c", "SELECT 1"], check=True, capture_output=True)
    return time.perf_counter() - started
