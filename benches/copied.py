#!/usr/bin/env python3
"""Reads what COPY writes with h5py, NumPy, Pillow and astropy, and times a large copy.

    benches/copied.py ALMAGEST              # correctness only
    benches/copied.py ALMAGEST --size 8192  # and the time of a copy, beside h5py's write

Needs numpy, h5py, pillow and astropy. Times mean something for a release build only."""
import argparse
import os
import tempfile
import time

import h5py
import numpy as np
from astropy.visualization import AsinhStretch, ZScaleInterval
from PIL import Image

from almagest import Almagest

TYPES = {"i1": "TINYINT", "i2": "SMALLINT", "i4": "INT", "i8": "BIGINT", "u1": "TINYINT UNSIGNED",
         "u2": "SMALLINT UNSIGNED", "u4": "INT UNSIGNED", "u8": "BIGINT UNSIGNED", "f4": "REAL",
         "f8": "DOUBLE"}


def source(path, shape, seed=3):
    image = np.random.default_rng(seed).normal(100, 20, shape).astype("f4")
    with h5py.File(path, "w") as file:
        chunks = tuple(min(512, length) for length in shape)
        file.create_dataset("image", data=image, chunks=chunks)
    return image


def check_hdf5(almagest, folder, image):
    path = f"{folder}/out.h5"
    for chunks in ("'9,11'", "'128,64'"):
        for order in ("", " ORDER BY x DESC, y", " ORDER BY value"):
            for compression in ("none", "gzip:4"):
                rows, _ = almagest.run(
                    f"COPY (SELECT y, x, value FROM '{folder}/in.h5'{order}) TO '{path}' OPTIONS ("
                    f"'dataset' '/a/smooth', 'chunks' {chunks}, 'compression' '{compression}', "
                    f"'shuffle' 'true')")
                assert rows == [[str(image.size)]], rows
                with h5py.File(path) as file:
                    found = file["a/smooth"]
                    assert np.array_equal(found[:], image)
                    assert [dim.label for dim in found.dims] == ["y", "x"]
                    assert found.compression == (None if compression == "none" else "gzip")
                    assert found.shuffle and np.isnan(found.fillvalue)
    # every type, several datasets, absent cells
    columns = ", ".join(f"(n - 20)::{TYPES[t]} AS {t}" if t[0] != "u" else f"n::{TYPES[t]} AS {t}"
                        for t in TYPES)
    almagest.run(f"COPY (SELECT n / 7 AS time, n % 7 AS freq, {columns} FROM "
                 f"(SELECT value AS n FROM generate_series(0, 41)) WHERE n <> 9) TO '{path}' "
                 f"OPTIONS ('dims' 'time,freq', 'chunks' '4,3', 'dataset' 'all/types')")
    with h5py.File(path) as file:
        for name in TYPES:
            found = file[f"all/types/{name}"]
            expected = np.arange(42) - (0 if name[0] == "u" else 20)
            expected = expected.astype(name).reshape(6, 7)
            expected[1, 2] = np.nan if name[0] == "f" else 0
            assert found.dtype == np.dtype(name) and found.chunks == (4, 3)
            assert np.array_equal(found[:], expected, equal_nan=name[0] == "f"), name
            assert [dim.label for dim in found.dims] == ["time", "freq"]
    # groups with more members than a default leaf holds, chunks that never come
    values = ", ".join(f"value AS v{i}" for i in range(40))
    almagest.run(f"COPY (SELECT value AS x, {values} FROM generate_series(0, 3)) TO '{path}' "
                 f"OPTIONS ('shape' '1000', 'chunks' '10', 'fill_value' '-5')")
    with h5py.File(path) as file:
        assert len(file) == 40
        assert all(np.array_equal(file[f"v{i}"][:], [0, 1, 2, 3] + [-5] * 996) for i in range(40))


def check_npy(almagest, folder, image):
    path = f"{folder}/out.npy"
    for where in ("", " WHERE value > 100 AND y < 90", " WHERE y > 7 AND x < 40"):
        almagest.run(f"COPY (SELECT y, x, value FROM '{folder}/in.h5'{where}) TO '{path}'")
        expected = image.copy()
        if "value" in where:
            expected[expected <= 100] = np.nan
            expected = expected[:90]
            rows, cols = (np.flatnonzero(~np.isnan(expected).all(axis=axis)) for axis in (1, 0))
            expected = expected[:rows[-1] + 1, :cols[-1] + 1]
        elif where:
            expected[:8] = np.nan
            expected = expected[:, :40]
        found = np.load(path)
        assert found.dtype == np.float32 and np.array_equal(found, expected, equal_nan=True)


def check_png(almagest, folder, image):
    path = f"{folder}/out.png"

    def levels(options, where=""):
        almagest.run(f"COPY (SELECT y, x, value FROM '{folder}/in.h5'{where}) TO '{path}' "
                     f"OPTIONS ({options}, 'shape' '{image.shape[0]},{image.shape[1]}')")
        return Image.open(path)

    def scaled(low, high, stretch=lambda part: part):
        part = np.clip((image.astype("f8") - low) / (high - low), 0, 1)
        return np.minimum((stretch(part) * 256).astype(int), 255)

    found = levels("'colormap' 'gray'")
    assert found.mode == "L" and found.size == image.shape[::-1]
    assert np.array_equal(found, scaled(image.min(), image.max()))
    assert np.array_equal(levels("'origin' 'lower'"), scaled(image.min(), image.max())[::-1])
    low, high = map(float, ZScaleInterval().get_limits(image))
    # the limits agree to rounding, which may move a pixel at the edge of a level
    assert np.abs(np.array(levels("'stretch' 'zscale'"), int) - scaled(low, high)).max() <= 1
    found = levels("'limits' 'p1,p99', 'stretch' 'asinh'")
    low, high = np.percentile(image.astype("f8"), [1, 99])
    assert np.abs(np.array(found, int) - scaled(low, high, AsinhStretch())).max() <= 1
    found = levels("'limits' '90,110', 'stretch' 'sqrt'")
    assert np.array_equal(found, scaled(90, 110, np.sqrt))
    found = np.array(levels("'colormap' 'inferno'", " WHERE value < 120").convert("RGBA"))
    assert np.array_equal(found[..., 3] == 0, image >= 120)
    found = np.array(levels("'nan' '#00ff00'", " WHERE value < 120").convert("RGB"))
    assert (found[image >= 120] == [0, 255, 0]).all()


def measure(binary, folder, size):
    image = source(f"{folder}/large.h5", (size, size))
    for name, options, ours in (("raw", "'compression' 'none'", {}),
                                ("gzip:4", "'compression' 'gzip:4', 'shuffle' 'true'",
                                 {"compression": "gzip", "compression_opts": 4, "shuffle": True})):
        almagest = Almagest(binary)
        sql = (f"COPY (SELECT y, x, value FROM '{folder}/large.h5') TO '{folder}/copy.h5' "
               f"OPTIONS ('chunks' '512,512', {options})")
        seconds = min(almagest.run(sql)[1] for _ in range(3))
        peak = almagest.end()
        started = time.perf_counter()
        with h5py.File(f"{folder}/peer.h5", "w") as file:
            file.create_dataset("image", data=image, chunks=(512, 512), **ours)
        peer = time.perf_counter() - started
        with h5py.File(f"{folder}/copy.h5") as file:
            assert np.array_equal(file["value"][:], image)
        print(f"{size} x {size} f4, {name}: {seconds:.3f} s, {image.nbytes / seconds / 1e6:.0f} MB/s, "
              f"peak {peak / 1e6:.0f} MB; h5py's write from memory {peer:.3f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("almagest")
    parser.add_argument("--size", type=int)
    arguments = parser.parse_args()
    binary = os.path.abspath(arguments.almagest)
    with tempfile.TemporaryDirectory() as folder:
        image = source(f"{folder}/in.h5", (100, 130))
        almagest = Almagest(binary)
        for check in (check_hdf5, check_npy, check_png):
            check(almagest, folder, image)
            print(f"{check.__name__}: equal")
        almagest.end()
        if arguments.size:
            measure(binary, folder, arguments.size)


main()
