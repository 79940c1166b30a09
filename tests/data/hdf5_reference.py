"""Writes what h5py reads from every dataset of a folder of HDF5 files. hdf5_reference.py DIR

For almagest/hdf5_corpus.rs: DIR/reference.tsv names each dataset, DIR/reference/N.bin holds its
elements: numbers in little-endian order (half floats as f4), booleans as a byte, strings as a
length (u4) and bytes, array fields and records item by item. Needs h5py, hdf5plugin and NumPy."""
import glob
import os
import sys

import h5py
import hdf5plugin  # noqa: F401, registers the filters
import numpy as np

folder = sys.argv[1]
ELEMENTS_MAX = 20_000_000


def plain(dtype):
    """Whether elements are numbers of a kind that Arrow has."""
    if dtype.kind == "f":
        return dtype.itemsize in (2, 4, 8)
    return dtype.kind in "iu" or (dtype.kind == "b")


def known(dtype):
    if h5py.check_string_dtype(dtype) is not None:
        return h5py.check_string_dtype(dtype).length is not None
    if h5py.check_vlen_dtype(dtype) or h5py.check_ref_dtype(dtype) or h5py.check_opaque_dtype(dtype):
        return False
    if dtype.subdtype:
        return known(dtype.subdtype[0])
    if dtype.names:
        return all(known(dtype[name]) for name in dtype.names)
    return plain(dtype) or dtype.kind == "c"


def column(a):
    """Bytes of each element of a flat array."""
    if a.dtype.names:
        fields = [column(np.ascontiguousarray(a[name])) for name in a.dtype.names]
        return [b"".join(row) for row in zip(*fields)]
    if a.ndim > 1:
        inner = column(np.ascontiguousarray(a).reshape(-1))
        step = int(np.prod(a.shape[1:]))
        return [b"".join(inner[i : i + step]) for i in range(0, len(inner), step)]
    if a.dtype.kind == "S":
        return [len(s).to_bytes(4, "little") + s for s in (bytes(x).split(b"\0")[0] for x in a)]
    raw = numbers(a)
    width = len(raw) // max(len(a), 1)
    return [raw[i * width : (i + 1) * width] for i in range(len(a))]


def numbers(a):
    if a.dtype.kind == "f" and a.dtype.itemsize == 2:
        return a.astype("<f4").tobytes()
    if a.dtype.kind == "b":
        return a.astype("u1").tobytes()
    return a.astype(a.dtype.newbyteorder("<")).tobytes()


def expected(dataset):
    a = dataset[()]
    a = np.asarray(a, dtype=dataset.dtype) if not isinstance(a, np.ndarray) else a
    a = a.reshape((-1,) + a.shape[dataset.ndim :])
    padding = dataset.id.get_type()
    if a.dtype.kind == "S" and padding.get_strpad() == h5py.h5t.STR_SPACEPAD:
        return b"".join(len(s).to_bytes(4, "little") + s for s in (bytes(x).rstrip(b" ") for x in a))
    if a.dtype.names or a.dtype.kind == "S":
        return b"".join(column(a))
    return numbers(a.reshape(-1))


os.makedirs(os.path.join(folder, "reference"), exist_ok=True)
rows = []
for path in sorted(glob.glob(os.path.join(folder, "*.h5"))):
    name = os.path.basename(path)
    found = []
    try:
        with h5py.File(path, locking=False) as f:
            f.visititems(lambda k, v: found.append("/" + k) if isinstance(v, h5py.Dataset) else None)
            for dataset in found:
                try:
                    d = f[dataset]
                    if d.shape is None or not known(d.dtype):
                        rows.append((name, dataset, "other", "", str(d.dtype)))
                    elif d.size > ELEMENTS_MAX:
                        rows.append((name, dataset, "large", "", str(d.shape)))
                    else:
                        target = os.path.join("reference", f"{len(rows)}.bin")
                        content = expected(d)
                        with open(os.path.join(folder, target), "wb") as out:
                            out.write(content)
                        rows.append((name, dataset, "values", target, f"{d.dtype} {d.shape}"))
                except Exception as error:
                    rows.append((name, dataset, "unreadable", "", repr(error)[:200]))
    except Exception as error:
        rows.append((name, "", "unopenable", "", repr(error)[:200]))
with open(os.path.join(folder, "reference.tsv"), "w") as out:
    for row in rows:
        out.write("\t".join(part.replace("\t", " ").replace("\n", " ") for part in row) + "\n")
kinds = [row[2] for row in rows]
print({kind: kinds.count(kind) for kind in sorted(set(kinds))})
