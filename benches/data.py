"""Makes the data that the benches read: seeded, outside the repository, each file once."""
import os

import deflate
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

SIDE = 512


def made_once(path, make):
    """Calls make(temporary path) unless `path` is there."""
    if not os.path.exists(path):
        partial = path + ".partial"
        make(partial)
        os.rename(partial, path)
    return path


def image(folder, size, compression, seed=42):
    """A noisy image, as measured: no value twice, so gzip finds only the exponents alike."""

    def make(path):
        with h5py.File(path, "w") as f:
            options = dict(compression="gzip", shuffle=True) if compression else {}
            side = min(SIDE, size)
            d = f.create_dataset("image", (size, size), "f4", chunks=(side, side), **options)
            rng = np.random.default_rng(seed)
            for y in range(0, size, side):
                rows = rng.standard_normal((min(side, size - y), size), dtype="f4")
                d[y : y + side] = rows * 15 + 250

    suffix = "-gzip" if compression else ""
    name = f"image-{size}{suffix}.h5" if seed == 42 else f"image-{size}-{seed}{suffix}.h5"
    return made_once(os.path.join(folder, name), make)


def pattern(folder, size):
    """An image of one chunk repeated: any size costs little disk, and all of it is decoded."""

    def make(path):
        chunk = (np.arange(SIDE * SIDE) % 251).astype("<f4").reshape(SIDE, SIDE)
        shuffled = chunk.view("u1").reshape(-1, 4).T.tobytes()
        stored = bytes(deflate.zlib_compress(shuffled, 6))
        with h5py.File(path, "w") as f:
            d = f.create_dataset("image", (size, size), "f4", chunks=(SIDE, SIDE),
                                 compression="gzip", shuffle=True)
            for y in range(0, size, SIDE):
                for x in range(0, size, SIDE):
                    d.id.write_direct_chunk((y, x), stored)

    return made_once(os.path.join(folder, f"pattern-{size}.h5"), make)


def candidates(rows, seed):
    rng = np.random.default_rng(seed)
    teff = np.round(rng.normal(5600, 1100, rows).clip(2600, 10500))
    period = np.round(np.exp(rng.normal(1.8, 1.05, rows)).clip(0.25, 700), 6)
    hours = 13 * (teff / 5772) * np.cbrt(period / 365.25) * np.sqrt(1 - rng.random(rows) ** 2)
    return pa.table({
        "tic_id": np.arange(rows, dtype="i8") + seed * rows,
        "transit_duration_hours": pa.array(np.round(hours, 4), mask=rng.random(rows) < 0.005),
        "stellar_teff": pa.array(teff, mask=rng.random(rows) < 0.02),
        "period_days": period,
    })


def catalog(folder, rows):
    """Eight Parquet files."""

    def make(path):
        os.makedirs(path, exist_ok=True)
        for part in range(8):
            file = os.path.join(path, f"part-{part}.parquet")
            pa.parquet.write_table(candidates(rows // 8, part), file)

    return made_once(os.path.join(folder, f"toi-{rows}"), make)


def csv(folder, rows):
    make = lambda path: pa.csv.write_csv(candidates(rows, 99), path)
    return made_once(os.path.join(folder, f"toi-{rows}.csv"), make)
