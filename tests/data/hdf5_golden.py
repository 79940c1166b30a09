"""Writes the HDF5 files beside it: python hdf5_golden.py. Made with h5py 3.16.0 (HDF5 2.0),
hdf5plugin 7.1.0, h5netcdf 1.8.2 and NumPy 2.4.6.

Expected values in tests/spec/hdf5 come from the prints at the end, which NumPy computes."""
import ctypes
import os
import h5netcdf
import h5py
import hdf5plugin
import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
image = ((np.arange(70 * 50, dtype="f8").reshape(70, 50) * 37) % 101 / 4 - 3).astype("<f4")
with h5py.File(os.path.join(here, "image.h5"), "w") as f:
    f.create_dataset("image", data=image, chunks=(16, 16), compression="gzip", shuffle=True)

cube = (np.arange(5 * 6 * 7).reshape(5, 6, 7) * 31 % 199 - 100).astype(">i2")
with h5py.File(os.path.join(here, "arrays.h5"), "w") as f:
    f["contiguous"] = image
    f.create_dataset("raw", data=image, chunks=(16, 16))
    f.create_dataset("checked", data=image, chunks=(32, 20), compression="gzip", fletcher32=True)
    f.create_dataset("lzf", data=image, chunks=(16, 16), compression="lzf", shuffle=True)
    f.create_dataset("cube", data=cube, chunks=(2, 4, 3), compression="gzip")
    sparse = f.create_dataset("group/sparse", (40, 40), "i4", chunks=(16, 16), fillvalue=7)
    sparse[0:16, 0:16] = 1
    big = f.create_dataset("group/sparse_be", (40, 40), ">i4", chunks=(16, 16), fillvalue=7)
    big[0:16, 0:16] = 1
    f["names"] = ["a", "b"]
    f.create_dataset("scaled", data=np.arange(99), chunks=(10,), scaleoffset=0)

x = image.astype("f8")
print("image", x.size, x.mean(), x.std(), x.std(ddof=1), x.min(), x.max(), x.sum())
print("slice 10..=40, x<5", x[10:41, :5].size, x[10:41, :5].sum())
for k in (0, 17, 49): print("x", k, x[:, k].mean())
blocks = [x[a:a + 16, b:b + 16] for a in range(0, 70, 16) for b in range(0, 50, 16)]
rest = np.concatenate([(b - b.mean()).ravel() for b in blocks])
print("block-subtracted", rest.std())
c = cube.astype("i8")
print("cube", c.size, c.sum(), c.min(), c.max(), c[1:4, 2, 3:].sum())
print("sparse", 256 + (1600 - 256) * 7)

# Kinds of elements, groups of arrays, records and chunk indexes: kinds.h5, latest.h5, scales.h5.
with h5py.File(os.path.join(here, "kinds.h5"), "w") as f:
    i = np.arange(60).reshape(6, 10)
    f["half"] = (i / 8).astype("f2")
    f["half_be"] = (i / 8).astype(">f2")
    f["bool"] = i % 3 == 0
    f.create_dataset("enum", data=(i % 2 * 42).astype("i2"), dtype=h5py.enum_dtype({"A": 0, "B": 42}, "i2"))
    f["text"] = np.array([b"abc", b"", "d\u00e9".encode()], dtype="S4")
    f["complex"] = (i + 2j * i).astype("c8")
    f["scalar"] = 2.5
    twelve = h5py.h5t.STD_I16LE.copy()
    twelve.set_precision(12)
    space = h5py.h5s.create_simple((6,))
    d = h5py.h5d.create(f.id, b"twelve", twelve, space)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([-5, 4, 2047, -2048, 0, -1], "i2"))
    f["vectors"] = np.zeros(3, dtype=("f4", (2,)))
    kind = np.dtype([("id", "<i4"), ("mag", ">f8"), ("name", "S5"), ("ok", "?"), ("v", "<i2", (3,)), ("n", [("p", "u1"), ("q", "<f4")])])
    a = np.zeros(20, dtype=kind)
    a["id"] = np.arange(20)
    a["mag"] = np.arange(20) / 4
    a["name"] = [b"s%d" % k for k in range(20)]
    a["ok"] = np.arange(20) % 2 == 1
    a["v"] = np.arange(60).reshape(20, 3)
    a["n"]["q"] = np.arange(20) * 1.5
    f.create_dataset("records", data=a, chunks=(6,), compression="gzip", shuffle=True)
    f["planes/sci"] = i.astype("f4")
    f.create_dataset("planes/err", data=(i * 2).astype("f8"), chunks=(4, 4), compression="gzip")
    f.create_dataset("planes/dq", data=(i % 4).astype("u2"), chunks=(3, 5))
    f["mixed/a"], f["mixed/b"] = np.zeros(3), np.zeros(4)
    f["soft"] = h5py.SoftLink("/planes/sci")
    f["dangling"] = h5py.SoftLink("/nothing")
    f["other"] = h5py.ExternalLink("image.h5", "/image")
    f.create_dataset("scaleoffset", data=np.arange(500) % 100, chunks=(64,), scaleoffset=0)
    f.create_dataset("szip", data=i.astype("i4"), chunks=(3, 10), compression="szip")
    for name, codec in [("zstd", hdf5plugin.Zstd()), ("lz4", hdf5plugin.LZ4()), ("bzip2", hdf5plugin.BZip2()),
                        ("bitshuffle", hdf5plugin.Bitshuffle(cname="lz4")), ("bitshuffle_zstd", hdf5plugin.Bitshuffle(cname="zstd")),
                        ("blosc", hdf5plugin.Blosc(cname="lz4")), ("blosc2", hdf5plugin.Blosc2()), ("zfp", hdf5plugin.Zfp(reversible=True))]:
        f.create_dataset(name, data=image, chunks=(32, 32), compression=codec)
    m = f.create_dataset("mask", (32, 16), "f4", chunks=(16, 16), compression="gzip", shuffle=True)
    m[...] = image[:32, :16]
    m.id.write_direct_chunk((0, 0), np.ascontiguousarray(image[:16, :16]).tobytes(), filter_mask=3)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(h5py.h5d.COMPACT)
    d = h5py.h5d.create(f.id, b"compact", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((6, 10)), plist)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, i.astype("f4"))

# libver='latest' of HDF5 2: layout version 5, a version 2 tree, edge chunks without filters, pages.
with h5py.File(os.path.join(here, "latest.h5"), "w", libver="latest") as f:
    f.create_dataset("fixed", data=image, chunks=(16, 16), compression="gzip", shuffle=True)
    f.create_dataset("growing", data=image, chunks=(16, 16), maxshape=(None, 50), compression="gzip")
    f.create_dataset("growing_x", data=image, chunks=(16, 16), maxshape=(70, None))
    f.create_dataset("tree", data=image, chunks=(16, 16), maxshape=(None, None), compression="gzip")
    f.create_dataset("single", data=image, chunks=(70, 50), compression="gzip")
    lib = ctypes.CDLL([line.split()[-1] for line in open("/proc/self/maps") if "libhdf5-" in line][0])
    lib.H5Pset_chunk_opts.argtypes = [ctypes.c_int64, ctypes.c_uint]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((16, 16))
    plist.set_shuffle()
    assert lib.H5Pset_chunk_opts(plist.id, 2) >= 0
    d = h5py.h5d.create(f.id, b"edges", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(image.shape), plist)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, image)
    n = f.create_dataset("pages", (400_000,), "i4", chunks=(1,), maxshape=(None,), fillvalue=-1)
    n[7:9], n[200_000:200_003], n[399_999] = 5, 6, 7

# A file in which any change can be seen: checksums of all its chunks and descriptions.
with h5py.File(os.path.join(here, "checked.h5"), "w", libver="latest") as f:
    f.create_dataset("image", data=image, chunks=(16, 16), compression="gzip", fletcher32=True)

# Dimension scales as h5py makes them, and as netCDF-4 does.
with h5py.File(os.path.join(here, "scales.h5"), "w") as f:
    f["flux"] = np.arange(12.0).reshape(3, 4)
    f["time"], f["freq"] = np.arange(3) * 10.0, np.arange(4) * 0.5
    f["time"].make_scale()
    f["freq"].make_scale("frequency")
    f["flux"].dims[0].attach_scale(f["time"])
    f["flux"].dims[1].attach_scale(f["freq"])
    f["cov"] = np.eye(4)
    f["cov"].dims[0].attach_scale(f["freq"])
    f["cov"].dims[1].attach_scale(f["freq"])
    f["labelled"] = np.zeros((2, 3))
    f["labelled"].dims[0].label = "spam"
with h5netcdf.File(os.path.join(here, "cube.nc"), "w") as f:
    f.dimensions = {"time": 2, "lat": 3, "lon": 4, "bnds": 2}
    for name, length in (("time", 2), ("lat", 3), ("lon", 4)):
        f.create_variable(name, (name,), "f8")[:] = np.arange(length) * 1.5
    f.variables["time"].attrs["bounds"] = "time_bnds"
    f.create_variable("time_bnds", ("time", "bnds"), "f8")[:] = 0
    t = f.create_variable("temperature", ("time", "lat", "lon"), "f4", chunks=(1, 3, 4), compression="gzip")
    t[:] = np.arange(24).reshape(2, 3, 4) / 2
    t.attrs["coordinates"] = "height"
    f.create_variable("height", ("lat", "lon"), "f4")[:] = 1

print("half", (i / 8).sum(), "bool", (i % 3 == 0).sum(), "enum", (i % 2 * 42).sum())
print("planes", i.sum(), (i * 2).sum(), (i % 4).sum(), (i * 2)[2:5, 3:7].sum())
print("records", a["mag"].sum(), a["v"].sum(), a["ok"].sum(), a["n"]["q"].sum())
print("scaleoffset", (np.arange(500) % 100).sum(), "mask", image[:32, :16].astype("f8").sum())
print("edges 48.., 40..", x[48:, 40:].sum(), "pages", 2 * 5 + 3 * 6 + 7 - (400_000 - 6))
print("cube", (np.arange(24).reshape(2, 3, 4) / 2)[1, :, 2].sum())
