"""Arrays in HDF5 files, and arrays made of them, each as a FROM clause and as NumPy arrays.

Shapes are no multiples of chunks; one array is stored whole. Values are quarters, so that sums are exact,
but for `noise`. Not here: what is asked of them (`arrays_kind.py`).
"""

import h5py
import numpy as np
import scipy.ndimage

AXES = ["z", "y", "x"]
# Name, shape, chunks, type, share of NaN and infinities.
STORED = [
    ("quarters", (37, 53), (8, 10), "f8", 0.03),
    ("whole", (37, 53), (16, 16), "i4", 0),
    ("noise", (37, 53), (7, 53), "f8", 0),
    ("cube", (9, 14, 11), (4, 5, 3), "f4", 0),
    ("cube2", (9, 14, 11), (9, 2, 11), "f8", 0.02),
    ("line", (501,), (64,), "i2", 0),
    ("bytes", (40, 30), None, "u1", 0),
    ("point", (1, 1), (1, 1), "f8", 0),
]
MODES = ["reflect", "mirror", "nearest", "wrap", "constant"]


class Source:
    """`sql` stands in FROM; `values` are the columns other than dimensions; `exact`: all sums are."""

    def __init__(self, sql, values, exact=True):
        self.sql, self.values, self.exact = sql, values, exact
        self.shape = next(iter(values.values())).shape
        self.dims = AXES[len(AXES) - len(self.shape):]

    def columns(self):
        """All columns by name; of dimensions, the indices."""
        indices = np.indices(self.shape)
        return {**dict(zip(self.dims, indices)), **self.values}


def write(seed, folder):
    """Writes the arrays, each to a file of its own. Gives back name, array and path."""
    random = np.random.default_rng(seed)
    written = []
    for name, shape, chunks, type, unusual in STORED:
        if name == "noise":
            array = random.normal(100, 30, shape)
        else:
            whole = random.integers(0, 200, shape) if type == "u1" else random.integers(-200, 200, shape)
            array = (whole / 4 if type.startswith("f") else whole).astype(type)
        if unusual:
            places = random.random(shape)
            array[places < unusual] = np.nan
            array[(places > 0.5) & (places < 0.5 + unusual / 4)] = np.inf
            array[(places > 0.6) & (places < 0.6 + unusual / 2)] = -0.0
        path = folder / f"{name}.h5"
        with h5py.File(path, "w") as file:
            options = dict(chunks=chunks, compression="gzip", shuffle=True) if chunks else {}
            file.create_dataset("value", data=array, **options)
        written.append((name, array, path))
    return written


def stored(random, written, dims=None):
    fitting = [item for item in written if dims is None or item[1].ndim == dims]
    name, array, _ = random.choice(fitting)
    return Source(name, {"value": array}, name != "noise")


def crop(random, source):
    bounds, slices = [], []
    for dim, length in zip(source.dims, source.shape):
        if random.random() < 0.3:
            slices.append(slice(None))
            continue
        start = random.randrange(length)
        stop = random.randint(start + 1, length)
        bounds.append(f"{dim} => [{start}, {stop}]")
        slices.append(slice(start, stop))
    if not bounds:
        return source
    values = {name: array[tuple(slices)] for name, array in source.values.items()}
    return Source(f"crop({inner(source)}, {', '.join(bounds)})", values, source.exact)


def downsample(random, source):
    factors = [random.choice([1, 2, 3, 5, 7]) for _ in source.shape]
    word, reduce = random.choice([("avg", np.mean), ("min", least), ("max", greatest), ("sum", np.sum)])
    values = {}
    for name, array in source.values.items():
        shape = [-(-length // factor) for length, factor in zip(array.shape, factors)]
        whole = word in ("min", "max") or (word == "sum" and array.dtype.kind in "iu")
        made = np.empty(shape, array.dtype if word in ("min", "max") else "i8" if whole else "f8")
        for place in np.ndindex(*shape):
            block = array[tuple(slice(p * f, (p + 1) * f) for p, f in zip(place, factors))]
            made[place] = reduce(block if whole else block.astype("f8"))
        values[name] = made
    return Source(f"downsample({inner(source)}, [{', '.join(map(str, factors))}], '{word}')", values,
                  source.exact and word != "avg")


def concat(random, source):
    axis = random.randrange(len(source.shape))
    values = {name: np.concatenate([array, array], axis) for name, array in source.values.items()}
    return Source(f"concat({inner(source)}, {inner(source)}, axis => '{source.dims[axis]}')", values, source.exact)


def filtered(random, source):
    """A filter of SciPy's as a column beside the value."""
    made = call(random, source)
    if made is None:
        return source
    sql, array = made
    dims = ", ".join(source.dims)
    values = {**source.values, "smooth": array}
    return Source(f"(SELECT {dims}, {', '.join(source.values)}, {sql} AS smooth FROM {source.sql}) AS f", values, False)


def zipped(random, written):
    """Two arrays of one shape, joined on all their dimensions."""
    names = random.choice([("quarters", "whole", "noise"), ("cube", "cube2")])
    one, other = random.sample(names, 2)
    arrays = {name: array for name, array, _ in written}
    dims = AXES[len(AXES) - arrays[one].ndim:]
    columns = ", ".join(f"a.{dim}" for dim in dims)
    join = random.choice([f"USING ({', '.join(dims)})", "ON " + " AND ".join(f"a.{dim} = b.{dim}" for dim in dims)])
    sql = f"(SELECT {columns}, a.value AS p, b.value AS q FROM {one} AS a JOIN {other} AS b {join}) AS z"
    return Source(sql, {"p": arrays[one], "q": arrays[other]}, "noise" not in (one, other))


def source(random, written):
    kind = random.random()
    if kind < 0.15:
        return zipped(random, written)
    made = stored(random, written)
    for step in random.sample([crop, downsample, concat, filtered], random.choice([0, 0, 0, 1, 1, 2])):
        if "smooth" in made.values and step is filtered:
            continue
        made = step(random, made)
    return made


def inner(source):
    """A source as the argument of a table function."""
    sql = source.sql.removesuffix(" AS f").removesuffix(" AS z")
    return sql


# ---- the peers' order of floats is not SQL's: NaN is above all


def least(array):
    if array.dtype.kind != "f":
        return array.min()
    known = array[~np.isnan(array)]
    return known.min() if known.size else np.nan


def greatest(array):
    return array.max()  # NaN if there is one


# ---- filters


def call(random, source):
    """A call of a filter over `value`, and what SciPy gives. Only over arrays without NaN."""
    array = source.values.get("value")
    if array is None or array.size < 2 or (array.dtype.kind == "f" and not np.isfinite(array).all()):
        return None
    column = "value"
    mode = random.choice(MODES)
    options, keywords = f", mode => '{mode}'", {"mode": mode}
    if mode == "constant" and random.random() < 0.5:
        cval = 2.5 if array.dtype.kind == "f" else 2
        options, keywords = f"{options}, cval => {cval}", {**keywords, "cval": cval}
    # SciPy's medians of one dimension are wrong for windows longer than the axis
    size_max = min(7, *array.shape) if array.ndim == 1 else 7
    size = random.randint(1, max(1, size_max))
    sizes = [random.randint(1, 4) for _ in array.shape]
    sigma = random.choice([0.5, 1.0, 1.7, 3.0])
    axis = random.randrange(array.ndim)
    double = array.astype("f8")
    if array.dtype == np.float32:
        column = "CAST(value AS DOUBLE)"
    name = random.choice(["gaussian_filter", "uniform_filter", "median_filter", "minimum_filter", "maximum_filter",
                          "percentile_filter", "rank_filter", "sobel", "prewitt", "laplace", "gaussian_laplace",
                          "convolve", "correlate", "grey_erosion", "grey_dilation", "uniform_filter"])
    function = getattr(scipy.ndimage, name)
    if name in ("gaussian_filter", "gaussian_laplace"):
        return f"{name}({column}, {sigma}{options})", function(double, sigma, **keywords)
    if name == "uniform_filter":
        return f"{name}({column}, {sizes}{options})", function(double, sizes, **keywords)
    if name in ("median_filter", "minimum_filter", "maximum_filter", "grey_erosion", "grey_dilation"):
        given = sizes if random.random() < 0.5 and array.ndim > 1 else size
        if given == sizes:
            return f"{name}({column}, {sizes}{options})", function(double, size=tuple(sizes), **keywords)
        return f"{name}({column}, {size}{options})", function(double, size=(size,) * array.ndim, **keywords)
    if name == "percentile_filter":
        percentile = random.choice([0, 17, 50, 83, 100])
        return f"{name}({column}, {percentile}, {size}{options})", function(double, percentile, size=size, **keywords)
    if name == "rank_filter":
        rank = random.randrange(size**array.ndim)
        return f"{name}({column}, {rank}, {size}{options})", function(double, rank, size=size, **keywords)
    if name in ("sobel", "prewitt"):
        return f"{name}({column}, axis => {axis}{options})", function(double, axis=axis, **keywords)
    if name == "laplace":
        return f"{name}({column}{options})", function(double, **keywords)
    weights = np.array([random.choice([0.25, 0.5, 1, 2, -1]) for _ in range(int(np.prod(sizes)))]).reshape(sizes)
    return f"{name}({column}, {weights.tolist()}{options})", function(double, weights, **keywords)
