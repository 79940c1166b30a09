"""Filters, blocks and zips: the same questions to SciPy, dask-image, Dask and OpenCV."""
import os
import statistics
import subprocess
import time

import cv2
import dask.array as da
import h5py
import numpy as np
from dask_image import ndfilters
from scipy import ndimage

from peers import SIDE, block_rest, dask_image, numpy_image

cv2.setNumThreads(2)
REFLECT = cv2.BORDER_REFLECT  # SciPy's reflect

# name, SQL over `value`, SciPy, dask-image, OpenCV; the ratios wanted to the first two
FILTERS = [
    ("Gaussian, sigma 2", "gaussian_filter(value, 2.0)",
     lambda a: ndimage.gaussian_filter(a, 2.0), lambda a: ndfilters.gaussian_filter(a, 2.0),
     lambda a: cv2.GaussianBlur(a, (17, 17), 2.0, borderType=REFLECT), (5, 10)),
    ("median, 3 x 3", "median_filter(value, 3)",
     lambda a: ndimage.median_filter(a, 3), lambda a: ndfilters.median_filter(a, 3),
     lambda a: cv2.medianBlur(a, 3), (30, None)),
    ("median, 5 x 5", "median_filter(value, 5)",
     lambda a: ndimage.median_filter(a, 5), None,
     lambda a: cv2.medianBlur(a, 5), (None, None)),
    ("median, 15 x 15", "median_filter(value, 15)",
     lambda a: ndimage.median_filter(a, 15), None, None, (5, None)),
    ("uniform, 15 x 15", "uniform_filter(value, 15)",
     lambda a: ndimage.uniform_filter(a, 15), lambda a: ndfilters.uniform_filter(a, 15),
     lambda a: cv2.blur(a, (15, 15), borderType=REFLECT), (5, None)),
    ("maximum, 15 x 15", "maximum_filter(value, 15)",
     lambda a: ndimage.maximum_filter(a, 15), lambda a: ndfilters.maximum_filter(a, 15),
     None, (5, None)),
]


def filters(bench, path, size, slow_size, slow_path):
    """Each filter's deviation over the whole image; `slow_path` for what takes peers minutes."""
    for name, sql, scipy, dask, opencv, wanted in FILTERS:
        minutes = name == "median, 15 x 15"
        file, side = (slow_path, slow_size) if minutes else (path, size)
        whole = h5py.File(file)["image"][...]
        expected = scipy(whole).std(dtype="f8")
        peers = [("SciPy", numpy_image(file, lambda d: scipy(d[...]).std()), wanted[0])]
        if dask:
            work = lambda a: dask(a).std()
            peers.append(("dask-image", dask_image(file, work), wanted[1]))
            peers.append(("dask-image, by chunk", dask_image(file, work, min(SIDE, side)), wanted[1]))
        bench.compare(f"{name}, {side}², deviation of the result",
                      f"SELECT stddev_pop({sql}) FROM '{file}'", peers, expected,
                      lambda rows: float(rows[0][0]), side * side * 4)


def kernels(bench, size):
    """The inner loops alone against OpenCV's, both over an array in memory."""
    command = [os.environ["ALMAGEST_KERNELS_BIN"], str(size)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    ours = dict(line.split("\t") for line in printed.splitlines())
    array = np.random.default_rng(42).standard_normal((size, size), dtype="f4") * 15 + 250
    for name, _, _, _, opencv, _ in FILTERS:
        if not opencv:
            continue
        opencv(array)
        seconds = []
        for _ in range(bench.repeats):
            started = time.perf_counter()
            opencv(array)
            seconds.append(time.perf_counter() - started)
        bench.pair(f"{name}, {size}², in memory, the kernel alone", float(ours[name]),
                   size * size * 4, "OpenCV", seconds, 1 / 3)


def blocks_and_zips(bench, path, other, size):
    with h5py.File(path) as f:
        whole = f["image"][...].astype("f8")
    side = min(SIDE, size)
    blocks = whole.reshape(size // side, side, size // side, side)
    rest = (blocks - blocks.mean(axis=(1, 3), keepdims=True)).std()
    bench.compare(
        "deviation of blocks less their means",
        f"SELECT stddev_pop(rest) FROM (SELECT value - avg(value) OVER (PARTITION BY y / {side}, "
        f"x / {side}) AS rest FROM '{path}')",
        [("Dask", dask_image(path, lambda a: a.map_blocks(block_rest).std()), None),
         ("Dask, by chunk", dask_image(path, lambda a: a.map_blocks(block_rest).std(), side), 5)],
        rest, lambda rows: float(rows[0][0]), size * size * 4)
    for name, sql, most in (
        ("mean by x", f"SELECT x, avg(value) FROM '{path}' GROUP BY x", 1.5),
        ("mean by y", f"SELECT y, avg(value) FROM '{path}' GROUP BY y", 1.5),
        ("mean by block", f"SELECT y / {side}, x / {side}, avg(value) FROM '{path}' GROUP BY 1, 2",
         1.5),
        ("deviation by block",
         f"SELECT y / {side}, x / {side}, stddev_pop(value) FROM '{path}' GROUP BY 1, 2", 1.5),
        ("mean of the product of two images",
         f"SELECT avg(a.value * b.value) FROM '{path}' a JOIN '{other}' b USING (y, x)", 2.2),
    ):
        ratio = bench.ratio(sql, f"SELECT avg(value) FROM '{path}'")
        bench.fact(f"{name}, over the mean of the image", f"{ratio:.2f} ×", f"≤ {most} ×",
                   ratio <= most)


def windows_and_memory(bench, huge_path, huge, explained, peak):
    """A small window of a filtered huge array, and a chain of filters over it in little memory."""
    at = huge // 2
    sql = (f"SELECT sum(gaussian_filter(value, 2.0)) FROM '{huge_path}' WHERE y >= {at - 5} AND "
           f"y < {at + 5} AND x >= {at - 5} AND x < {at + 5}")
    seconds = bench.median(sql)
    bench.fact(f"10 × 10 pixels of a filtered {huge}², over four chunks", f"{seconds * 1e3:.0f} ms",
               "< 50 ms", seconds < 0.05)
    chunks = explained(sql)
    bench.fact("  chunks read for it", str(chunks), "≤ 4", chunks <= 4)
    chain = ("maximum_filter(median_filter(uniform_filter(gaussian_filter(value, 2.0), 5), 3), 5)")
    bytes_, elapsed = peak(f"SELECT stddev_pop({chain}) FROM '{huge_path}'")
    gib = huge * huge * 4 / 2**30
    bench.fact(f"peak memory, four filters over {gib:g} GiB with --memory-limit 256MB "
               f"({elapsed:.0f} s)", f"{bytes_ / 1e6:.0f} MB", "< 700 MB", bytes_ < 700e6)
