"""Writes the HDF5 files beside it. Made with h5py 3 and NumPy 2: python hdf5_golden.py

Expected values in tests/spec/hdf5 come from the prints at the end, which NumPy computes."""
import os
import h5py
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
