"""What the array functions give, by SciPy and NumPy: `filtered(function, x, **arguments)`.

For filters_golden.py, which names the versions and the departures from SciPy."""
import itertools
import math
import warnings

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

MODES = ["reflect", "mirror", "nearest", "wrap", "constant"]


# --- Windows, by definition ---------------------------------------------------------------------

def sequence(value, count):
    return list(value) if isinstance(value, (list, tuple, range)) else [value] * count


def inside(at, n, mode):
    """The index that stands for each index of `at`; -1 for the constant."""
    if mode == "nearest":
        return np.clip(at, 0, n - 1)
    if mode == "wrap":
        return at % n
    if mode == "constant":
        return np.where((at >= 0) & (at < n), at, -1)
    period = 2 * n if mode == "reflect" else max(2 * n - 2, 1)
    at = at % period
    return np.where(at < n, at, period - at - (mode == "reflect"))


def windows(x, sizes, origins=0, mode="reflect", cval=0.0):
    """The window of every element, along new axes at the end."""
    origins, modes = sequence(origins, x.ndim), sequence(mode, x.ndim)
    for axis, (size, origin, mode) in enumerate(zip(sizes, origins, modes)):
        first = -(size // 2) - origin
        at = inside(np.arange(first, x.shape[axis] + first + size - 1), x.shape[axis], mode)
        gone = np.expand_dims(at < 0, tuple(k for k in range(x.ndim) if k != axis))
        x = np.where(gone, np.asarray(cval).astype(x.dtype), np.take(x, np.maximum(at, 0), axis))
    return sliding_window_view(x, tuple(sizes))


def spread(x, axes, args):
    """Sizes, origins, modes and footprint for every axis from those of `axes`."""
    axes = [a % x.ndim for a in sequence(range(x.ndim) if axes is None else axes, 1)]
    footprint = args.get("footprint")
    if footprint is not None:
        footprint = np.asarray(footprint, bool)
        given = footprint.shape
    else:
        given = sequence(args["size"], len(axes))
    sizes, origins, modes = [1] * x.ndim, [0] * x.ndim, ["reflect"] * x.ndim
    listed = zip(axes, given, sequence(args.get("origin", 0), len(axes)),
                 sequence(args.get("mode", "reflect"), len(axes)))
    for axis, size, origin, mode in listed:
        sizes[axis], origins[axis], modes[axis] = size, origin, mode
    if footprint is None:
        footprint = np.ones(sizes, bool)
    else:
        order = np.argsort(axes)
        footprint = footprint.transpose(order).reshape(sizes)
    return sizes, origins, modes, footprint


def ranked(x, pick, args):
    """What `pick(valid, n)` chooses among the sorted elements of each window."""
    sizes, origins, modes, footprint = spread(x, args.get("axes"), args)
    w = windows(x, sizes, origins, modes, args.get("cval", 0.0))
    w = np.sort(w.reshape(x.shape + (-1,))[..., footprint.ravel()], -1)
    lost = np.isnan(w).sum(-1) if x.dtype.kind == "f" else np.zeros(x.shape, int)
    valid = w.shape[-1] - lost
    if args.get("nan") == "ignore":
        at = np.array([pick(n) if n else 0 for n in range(w.shape[-1] + 1)])[valid]
        return np.take_along_axis(w, at[..., None], -1)[..., 0]
    result = w[..., pick(w.shape[-1])].copy()
    if lost.any():
        result[lost > 0] = np.nan
    return result


def local(x, statistic, args):
    f = x.astype("f8")
    sizes, origins, modes, _ = spread(f, args.get("axes"), args)
    w = windows(f, sizes, origins, modes, args.get("cval", 0.0)).reshape(x.shape + (-1,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of windows without a valid element
        of = {"mean": (np.mean, np.nanmean), "std": (np.std, np.nanstd)}[statistic]
        result = of[args.get("nan") == "ignore"](w, axis=-1)
    if statistic == "std":  # NumPy's mean of equal elements is rounded, and leaves a rest
        result[w.min(-1) == w.max(-1)] = 0
    return result.astype("f4") if x.dtype == "f4" else result


# --- SciPy --------------------------------------------------------------------------------------

def pick_percentile(percentile):
    percentile = percentile + 100 if percentile < 0 else percentile
    return lambda n: n - 1 if percentile == 100 else int(n * percentile / 100)


def pick_rank(rank):
    return lambda n: rank + n if rank < 0 else rank


PICKS = {
    "median_filter": lambda args: lambda n: n // 2,
    "percentile_filter": lambda args: pick_percentile(args["percentile"]),
    "rank_filter": lambda args: pick_rank(args["rank"]),
    "minimum_filter": lambda args: lambda n: 0,
    "maximum_filter": lambda args: lambda n: n - 1,
}
GREY = ["grey_erosion", "grey_dilation", "grey_opening", "grey_closing", "white_tophat"]
LINEAR = ["gaussian_filter", "uniform_filter", "convolve", "correlate", "sobel", "prewitt", "laplace",
          "gaussian_laplace", "gaussian_gradient_magnitude"]
LOCAL = {"local_mean": "mean", "local_stddev": "std"}
FUNCTIONS = LINEAR + list(PICKS) + GREY + list(LOCAL)


def scipy_rank(function, x, args):
    """SciPy's N-D path."""
    args = {k: v for k, v in args.items() if k != "nan"}
    if "axes" in args and x.ndim > 1:
        axes = [a % x.ndim for a in sequence(args["axes"], 1)]
        order = np.argsort(axes)  # SciPy gives the sizes to the axes in ascending order
        args["axes"] = tuple(axes[k] for k in order)
        for key in {"size", "origin"} & set(args):
            args[key] = [sequence(args[key], len(axes))[k] for k in order]
    if x.ndim > 1:
        return getattr(ndimage, function)(x, **args)
    args.pop("axes", None)
    if "footprint" in args:
        args["footprint"] = np.asarray(args["footprint"], bool)[:, None]
    if "size" in args:
        args["size"] = (sequence(args["size"], 1)[0], 1)
    args["origin"] = (sequence(args.get("origin", 0), 1)[0], 0)
    return getattr(ndimage, function)(x[:, None], **args)[:, 0]


def erosion(x, args, least):
    """grey_erosion or, of what is turned round, grey_dilation, where NaN stays in its windows."""
    structure = args.get("structure")
    footprint = args.get("footprint")
    shape = np.shape(structure) if structure is not None else np.shape(footprint)
    sizes = shape or sequence(args.get("size"), x.ndim)
    add = np.zeros(sizes) if structure is None else np.asarray(structure, "f8")
    keep = np.ones(sizes, bool) if footprint is None else np.asarray(footprint, bool)
    origins = sequence(args.get("origin", 0), x.ndim)
    if not least:
        add, keep = np.flip(add), np.flip(keep)
        origins = [-o - (s % 2 == 0) for o, s in zip(origins, sizes)]
    w = windows(x, sizes, origins, args.get("mode", "reflect"), args.get("cval", 0.0)).astype("f8")
    w = (w - add if least else w + add).reshape(x.shape + (-1,))[..., keep.ravel()]
    return (w.min(-1) if least else w.max(-1)).astype(x.dtype)


def grey(function, x, args):
    stages = {"grey_erosion": [True], "grey_dilation": [False], "grey_closing": [False, True]}
    result = x
    for least in stages.get(function, [True, False]):
        result = erosion(result, args, least)
    return x - result if function == "white_tophat" else result


def uniform(x, args):
    """uniform_filter as a correlation along each axis."""
    sizes, origins, modes, _ = spread(x, args.get("axes"), args)
    for axis, (size, origin, mode) in enumerate(zip(sizes, origins, modes)):
        if size > 1:
            weights = np.full(size, 1 / size)
            x = ndimage.correlate1d(x, weights, axis, None, mode, args.get("cval", 0.0), origin)
    return x


def finite(x, args):
    return np.isfinite(x).all() and np.isfinite(args.get("cval", 0))


def sliced(function, x, args):
    """The filter of each slice along the axes alone."""
    axes = [a % x.ndim for a in sequence(args.pop("axes"), 1)]
    kept = [a for a in range(x.ndim) if a not in axes]
    moved = np.moveaxis(x, kept, range(len(kept)))
    out = np.empty_like(moved)
    for at in itertools.product(*(range(n) for n in moved.shape[:len(kept)])):
        out[at] = getattr(ndimage, function)(moved[at], **args)
    return np.moveaxis(out, range(len(kept)), kept)


def linear(function, x, args):
    args = {k: v for k, v in args.items() if k not in ("dtype", "nan")}
    if function == "gaussian_gradient_magnitude" and "axes" in args:
        return sliced(function, x, args)
    if "axes" in args:
        args["axes"] = tuple(sequence(args["axes"], 1))
    if "weights" in args:
        args["weights"] = np.asarray(args["weights"], "f8")
    if function == "uniform_filter" and not finite(x, args):
        return uniform(x, args)
    return getattr(ndimage, function)(x, **args)


def ignoring(function, x, args):
    """Linear filters of what is valid, with the weights' sum kept."""
    valid = ~np.isnan(x)
    cval = args.get("cval", 0.0)
    held = math.isnan(cval)
    wx = linear(function, np.where(valid, x, 0).astype("f8"), args | {"cval": 0.0 if held else cval})
    w = linear(function, valid.astype("f8"), args | {"cval": 0.0 if held else 1.0})
    total = np.sum(args["weights"]) if "weights" in args else 1.0
    result = np.where(w > 0, wx / w * total, np.nan)
    return result.astype(x.dtype)


def filtered(function, x, **args):
    """What a call of a SQL function gives."""
    if function in LINEAR:
        if x.dtype.kind in "iu" and args.get("dtype") != "same":
            x = x.astype("f8")
        if args.get("nan") == "ignore":
            return ignoring(function, x, args)
        result = linear(function, x, args)
        if x.dtype.kind == "f" and finite(x, args):
            if function == "uniform_filter":
                near(result, uniform(x, args))
            if x.dtype == "f4":
                near(result, linear(function, x.astype("f8"), args).astype("f4"))
        if x.dtype.kind in "iu" and "weights" in args:
            wide = np.trunc(linear(function, x.astype("f8"), args))
            np.testing.assert_array_equal(result, wide.astype("i8").astype(x.dtype))
        return result
    if function in PICKS:
        result = ranked(x, PICKS[function](args), args)
        exact = x.dtype != "i8" or np.abs(x.astype("f8")).max() < 2**53
        if exact and not np.isnan(x.astype("f8")).any() and not math.isnan(args.get("cval", 0)):
            np.testing.assert_array_equal(result, scipy_rank(function, x, args))
        return result
    if function in GREY:
        result = grey(function, x, args)
        if not np.isnan(x.astype("f8")).any():
            np.testing.assert_array_equal(result, getattr(ndimage, function)(x, **args))
        return result
    return local(x, LOCAL[function], args)


def near(a, b):
    scale = np.abs(b).max() or 1
    assert np.abs(a.astype("f8") - b).max() <= scale * (3e-13 if b.dtype == "f8" else 3e-7)
