"""Writes nights/: small images of one shape, one a night, and one that does not fit.

Run in this folder, with NumPy 2 and h5py 3. In spec/array/stack.slt.
"""

from pathlib import Path

import h5py
import numpy as np

FOLDER = Path("nights")


def write(name, array):
    with h5py.File(FOLDER / name, "w") as file:
        file.create_dataset("image", data=array, chunks=(2, 2), compression="gzip")


FOLDER.mkdir(exist_ok=True)
pixels = np.arange(12, dtype="f4").reshape(4, 3)
for night in (1, 2, 3):
    write(f"night_{night}.h5", pixels * night)
write("odd_shape.h5", np.zeros((4, 4), "f4"))
write("odd_type.h5", np.zeros((4, 3), "i2"))
