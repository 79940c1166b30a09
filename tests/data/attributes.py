"""Writes attributes.h5: attributes of every kind that h5py writes, of the file, a group and arrays.

python tests/data/attributes.py (h5py 3.16, NumPy 2.4)
"""

import pathlib

import h5py
import numpy as np

path = pathlib.Path(__file__).with_name("attributes.h5")
with h5py.File(path, "w") as file:
    file.attrs["title"] = "a cube of the sky"
    file.attrs["history"] = np.array(["flat", "dark"], dtype=h5py.string_dtype())
    file.attrs["fixed"] = np.bytes_("M31  ")
    file.attrs["names"] = np.array([b"one", b"three"])
    night = file.create_group("night")
    night.attrs["exptime"] = 30.5
    night.attrs["empty"] = h5py.Empty("f4")
    image = night.create_dataset("image", data=np.arange(6, dtype="<i2").reshape(2, 3))
    image.attrs["scale_factor"] = np.float32(0.01)
    image.attrs["add_offset"] = np.array(2.5, dtype=">f8")
    image.attrs["_FillValue"] = np.int16(-999)
    image.attrs["valid_range"] = np.array([0, 360], dtype=">i4")
    image.attrs["flags"] = np.uint64(2**64 - 1)
    image.attrs["is_good"] = np.bool_(True)
    image.attrs["half"] = np.float16(0.5)
    image.attrs["one"] = np.array([7], dtype="i1")
    image.attrs["none"] = np.array([], dtype="f8")
    image.attrs["matrix"] = np.array([[1.0, 2.0], [3.0, 4.0]])
    image.attrs["record"] = np.array((1, 2.5), dtype=[("a", "i4"), ("b", "f8")])
    image.attrs["complex"] = 1 + 2j
    image.attrs["opaque"] = np.void(b"\x01\x02")
    image.attrs["ragged"] = np.array([np.arange(2), np.arange(3)], dtype=h5py.vlen_dtype("i4"))
    many = file.create_dataset("many", data=np.float64(1))
    for index in range(40):
        many.attrs[f"key{index:02}"] = index
    scale = file.create_dataset("x", data=np.arange(3.0))
    scale.make_scale("x")
    image.dims[1].attach_scale(scale)
