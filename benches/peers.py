"""The same questions, as a user of h5py + NumPy, Dask, DuckDB or Polars asks them. Two threads."""
import os

os.environ["POLARS_MAX_THREADS"] = "2"

import dask
import dask.array as da
import duckdb
import h5py
import numpy as np
import polars as pl

dask.config.set(scheduler="threads", num_workers=2)
EDGES = [3000, 4000, 5000, 6000, 7000, 8000]
DAYS = [0, 3, 10, 30, 1000]
SIDE = 512


def numpy_image(path, work):
    def run():
        with h5py.File(path) as f:
            return work(f["image"])

    return run


def dask_image(path, work, side=2048):
    def run():
        with h5py.File(path) as f:
            return np.asarray(work(da.from_array(f["image"], chunks=(side, side))).compute())

    return run


def block_rest(block):
    return block - block.mean(dtype="f8")


def duckdb_case(column, edges):
    cases = [f"WHEN {column} >= {lo} AND {column} < {hi} THEN {lo}"
             for lo, hi in zip(edges, edges[1:])]
    return f"CASE {' '.join(cases)} END"


class DuckDb:
    def __init__(self):
        self.connection = duckdb.connect()
        self.connection.execute("SET threads = 2")

    def query(self, sql):
        return lambda: self.connection.execute(sql).fetchall()


def polars_bins(path):
    """Mean, deviation and count by bin."""

    def run():
        hours, teff = pl.col("transit_duration_hours"), pl.col("stellar_teff")
        labels = [str(edge) for edge in ["", *EDGES]]
        bins = teff.cut(EDGES, labels=labels, left_closed=True).alias("bin")
        frame = pl.scan_parquet(os.path.join(path, "*.parquet")).group_by(bins)
        return frame.agg(hours.mean(), hours.std().alias("std"), hours.count().alias("n")).collect()

    return run
