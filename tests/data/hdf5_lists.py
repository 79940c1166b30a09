"""Writes lists.h5 and lists_latest.h5 beside it: python hdf5_lists.py. Made with h5py 3.16.0 (HDF5 2.0) and
NumPy 2.4.6. Elements are arrays of int32, in chunks of every index. h5py gives such elements no fill value, so
that is set by the library. Expected values in tests/spec/hdf5/lists.slt come from the prints, which h5py reads
back."""
import ctypes
import os

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t

here = os.path.dirname(os.path.abspath(__file__))
lib = ctypes.CDLL([line.split()[-1] for line in open("/proc/self/maps") if "libhdf5-" in line][0])
lib.H5Pset_fill_value.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
any_length = h5s.UNLIMITED


def made(file, name, shape, chunk, most=None, gzip=False, fill=None, inner=(3,)):
    kind = h5t.array_create(h5t.STD_I32LE, inner)
    plist = h5p.create(h5p.DATASET_CREATE)
    if chunk:
        plist.set_chunk(chunk)
    if gzip:
        plist.set_deflate(4)
    if fill is not None:
        fill = np.array(fill, "<i4")
        assert lib.H5Pset_fill_value(plist.id, kind.id, fill.ctypes.data) >= 0
    h5d.create(file.id, name, kind, h5s.create_simple(shape, most or shape), plist)
    return file[name]


def numbers(*shape):
    return (np.arange(np.prod(shape)) * 7 % 1009 + 1).reshape(shape).astype("i4")


for library, name in (("earliest", "lists.h5"), ("latest", "lists_latest.h5")):
    with h5py.File(os.path.join(here, name), "w", libver=library) as f:
        made(f, b"chunks", (10, 6), (4, 4))[...] = numbers(10, 6, 3)
        made(f, b"gzip", (10, 6), (4, 4), gzip=True)[...] = numbers(10, 6, 3)
        made(f, b"growing", (50,), (4,), (any_length,))[...] = numbers(50, 3)
        made(f, b"growing_twice", (10, 6), (4, 4), (any_length, any_length), gzip=True)[...] = numbers(10, 6, 3)
        made(f, b"single", (10, 6), (10, 6))[...] = numbers(10, 6, 3)
        made(f, b"deep", (9,), (2,), inner=(2, 3))[...] = numbers(9, 2, 3)
        some = made(f, b"filled", (20,), (4,), fill=[7, 8, 9])
        some[4:8] = numbers(4, 3)
        made(f, b"never", (5,), None, fill=[7, 8, 9])
        made(f, b"deep_never", (4,), (3,), fill=np.arange(6).reshape(2, 3) + 1, inner=(2, 3))
        for dataset in f:
            read = f[dataset][...].astype("i8")
            weighted = (read * np.arange(read.size).reshape(read.shape)).sum()
            print(name, dataset, read.shape, read.sum(), weighted, read[..., 1:].sum())
