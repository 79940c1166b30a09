"""What this machine can do at most: the figures that no engine can pass."""
import os
import time
from concurrent.futures import ThreadPoolExecutor

import deflate
import numpy as np

CHUNK = 512 * 512


def best(work, bytes_count, repeats=5):
    """GB/s of the best of some runs: a limit is what the machine reaches when nothing disturbs."""
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return bytes_count / min(seconds) / 1e9


def read_file(path, part, parts):
    """Reads a part of a file that is cached, a stored chunk at a time, and looks at each number."""
    length = CHUNK * 4
    chunks = os.path.getsize(path) // length
    buffer = np.empty(CHUNK, "f4")
    with open(path, "rb", buffering=0) as file:
        for chunk in range(chunks * part // parts, chunks * (part + 1) // parts):
            os.preadv(file.fileno(), [buffer], chunk * length)
            np.max(buffer)


def measure(path):
    """Names and GB/s, on one and on two threads. `path` is a file that is read."""
    array = np.random.default_rng(1).standard_normal(64 << 20, dtype="f4")
    out = np.empty_like(array)
    halves = [slice(0, array.size // 2), slice(array.size // 2, None)]
    raw = (array[:CHUNK] * 15 + 250).view("u1").reshape(-1, 4).T.tobytes()
    stored = bytes(deflate.zlib_compress(raw, 4))
    decode = lambda _: [deflate.zlib_decompress(stored, len(raw)) for _ in range(32)]
    with ThreadPoolExecutor(2) as pool:
        both = lambda work: lambda: list(pool.map(work, halves))
        one = lambda work: lambda: work(slice(None))
        read = lambda part: np.max(array[part])
        copy = lambda part: np.copyto(out[part], array[part])
        return [
            ("read from memory (NumPy max, f4)",
             best(one(read), array.nbytes), best(both(read), array.nbytes)),
            ("read a file from the page cache, by chunk (preadv, NumPy max, f4)",
             best(lambda: read_file(path, 0, 1), os.path.getsize(path)),
             best(lambda: list(pool.map(lambda part: read_file(path, part, 2), range(2))),
                  os.path.getsize(path))),
            ("memcpy", best(one(copy), array.nbytes), best(both(copy), array.nbytes)),
            ("gzip decode (libdeflate)",
             best(lambda: decode(0), 32 * len(raw)),
             best(lambda: list(pool.map(decode, range(2))), 64 * len(raw))),
        ]
