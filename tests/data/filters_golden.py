"""Writes filters.h5 and filters_cases.tsv beside it: python filters_golden.py. Made with Python 3.11,
NumPy 2.4.6, SciPy 1.17.1 and h5py 3.16.0. tests/almagest/filters_golden.rs reads both.

/in/<name> are the arrays, /out/<type>_<shape> the expected results of all cases of one type and
shape, stacked along a first axis. A line of filters_cases.tsv: id, input, SQL, expected dataset, row
in it, tolerance (of |got - expected| relative to the greatest finite |expected|; 0: equal), and what
a NaN in the expected result means: nan, or null where a window holds no valid element.

Expected results are SciPy's, on the whole array, with these departures:
- Integers are made f8 first, unless dtype => 'same'. SciPy keeps the type and truncates.
- Rank filters, minima and maxima: NumPy, by sorting windows of the array extended by a map of
  indices (`ranked` in filters_reference.py). SciPy's 1-D path of rank filters is wrong for mirror and wrap where the window is
  longer than the axis, and ignores the holes of a footprint; its N-D path computes in f8, which
  cannot hold every i8; and NaN has no defined place in either. Wherever none of this matters, SciPy's
  N-D path (for one dimension: over a second axis of length one) is asserted to agree.
- NaN and infinity in uniform_filter: correlation with uniform weights along each axis. SciPy's
  running sum smears them over the rest of a line.
- nan => 'ignore' in linear filters: sum(w x) / sum(w) * sum of all w, the first two over valid
  elements, from SciPy's filter of the array with zeros for NaN and of its mask.
- axes of gaussian_gradient_magnitude: each slice along these axes alone. SciPy smooths along the
  others too, unlike gaussian_laplace and its own description.
- local_mean and local_stddev: NumPy over windows, in f8.
"""
import math
import os
import sys
import warnings

import h5py
import numpy as np
import scipy
from scipy import ndimage

sys.dont_write_bytecode = True
from filters_reference import FUNCTIONS, GREY, LINEAR, MODES, PICKS, filtered

assert (np.__version__, scipy.__version__, h5py.__version__) == ("2.4.6", "1.17.1", "3.16.0")
warnings.simplefilter("error")
np.seterr(all="ignore")

HERE = os.path.dirname(os.path.abspath(__file__))
TOLERANCE = {"f8": 1e-12, "f4": 1e-6}


# --- The arrays ---------------------------------------------------------------------------------

def arrays():
    rng = np.random.default_rng(20260)

    def of(kind, shape):
        if kind in ("f4", "f8"):
            return (rng.normal(10, 30, shape) + rng.integers(0, 5, shape) * 17).astype(kind)
        low, high = {"u1": (0, 256), "i2": (-3000, 3000), "i8": (-10**9, 10**9)}[kind]
        return rng.integers(low, high, shape).astype(kind)

    shapes = {"1d": (37,), "2d": (9, 13), "3d": (4, 5, 6), "4d": (3, 4, 2, 5)}
    made = {f"{k}_{d}": of(k, s) for d, s in shapes.items() for k in ("f4", "f8", "i2", "u1", "i8")}
    # larger than the halos, with room for several chunks
    wide = {"1w": (97,), "2w": (17, 23), "3w": (7, 9, 11), "4w": (4, 5, 3, 6)}
    made |= {f"f8_{d}": of("f8", s) for d, s in wide.items()}
    made |= {"f4_2w": of("f4", wide["2w"]), "u1_2w": of("u1", wide["2w"]), "i2_3w": of("i2", wide["3w"])}
    # smaller than the halos
    tiny = {"3x4": (3, 4), "row": (1, 6), "short": (3,), "one": (1,), "1x1x2": (1, 1, 2)}
    made |= {f"f8_{d}": of("f8", s) for d, s in tiny.items()}
    made |= {"i2_3x4": of("i2", (3, 4)), "u1_3x4": of("u1", (3, 4)), "f4_short": of("f4", (3,))}

    made["f8_mag"] = 10.0 ** rng.uniform(-8, 8, (9, 13)) * rng.choice([-1, 1], (9, 13))
    made["f4_mag"] = (10.0 ** rng.uniform(-6, 6, 37) * rng.choice([-1, 1], 37)).astype("f4")
    # few different values; a saturated patch and an empty one
    made["u1_ties"] = rng.integers(0, 4, (9, 13)).astype("u1") * 60
    patch = of("u1", (9, 13))
    patch[1:6, 0:6], patch[3:9, 8:13] = 255, 0
    made["u1_patch"] = patch
    made["i2_ends"] = rng.choice(np.array([-32768, -32767, -1, 0, 1, 32766, 32767], "i2"), (9, 13))
    # neighbours that an f8 cannot tell apart
    ends = np.array([2**63 - 1, 2**63 - 2, -2**63, -2**63 + 1, 2**53, 2**53 + 1, -2**53 - 1, 0, 7], "i8")
    made["i8_ends"] = rng.choice(ends, (6, 9))
    made["i8_ends_1d"] = rng.choice(ends, 37)
    step = np.zeros((9, 13), "u1")
    step[2:6, 3:9] = 255
    made["u1_step"] = step

    # single NaNs in a corner, at an edge and inside, and a patch wider than the small windows
    for kind in ("f8", "f4"):
        a = of(kind, (9, 13))
        a[0, 0] = a[8, 6] = a[3, 2] = np.nan
        a[2:7, 8:13] = np.nan
        made[f"{kind}_nan"] = a
    a = of("f8", (37,))
    a[[0, 5, 20, 21, 22, 23, 24, 25, 26]] = np.nan
    made["f8_nan_1d"] = a
    a = of("f8", (4, 5, 6))
    a[0, 0, 0] = a[3, 4, 5] = np.nan
    a[0:3, 1:4, 2:5] = np.nan
    made["f8_nan_3d"] = a
    a = of("f4", (3, 4, 2, 5))
    a[1, 1, 1, 1] = a[2, 3, 0, 4] = np.nan
    made["f4_nan_4d"] = a
    made["f8_nan_all"] = np.full((3, 4), np.nan)
    a = of("f8", (9, 13))
    a[4, 4], a[4, 6], a[0, 12], a[8, 0] = np.inf, -np.inf, np.inf, np.nan
    made["f8_inf"] = a
    return made


ARRAYS = arrays()


# --- Cases --------------------------------------------------------------------------------------

CASES, OUT, COUNTS = [], {}, {}


def literal(value):
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    if isinstance(value, float) and math.isnan(value):
        return "CAST('NaN' AS DOUBLE)"
    return "'" + value + "'" if isinstance(value, str) else "NULL" if value is None else repr(value)


def add(group, name, sql, result, tolerance=None, null=False):
    assert result.shape == ARRAYS[name].shape, (sql, result.shape)
    kind = result.dtype.str[1:]
    dataset = kind + "_" + "x".join(map(str, result.shape))
    rows = OUT.setdefault(dataset, [])
    same = [k for k, row in enumerate(rows) if row.tobytes() == result.tobytes()]
    if not same:
        rows.append(np.ascontiguousarray(result))
    at = same[0] if same else len(rows) - 1
    number = COUNTS[group] = COUNTS.get(group, 0) + 1
    tolerance = TOLERANCE.get(kind, 0) if tolerance is None else tolerance
    row = [f"{group}/{number:03}", f"/in/{name}", sql, f"/out/{dataset}", str(at), f"{tolerance:g}",
           "null" if null else "nan"]
    assert len({c[0] for c in CASES}) == len(CASES) and row[1:3] not in [c[1:3] for c in CASES], row
    CASES.append(row)


def case(function, name, first=(), **args):
    """A case of one function; the arguments in `first` stand by position."""
    x = ARRAYS[name]
    result = filtered(function, x, **args)
    shown = ["value"] + [literal(args[key]) for key in first]
    shown += [f"{key} => {literal(value)}" for key, value in args.items() if key not in first]
    kept = function in PICKS or function in GREY
    exact = kept or args.get("dtype") == "same" and x.dtype.kind in "iu"
    sql = f"{function}({', '.join(shown)})"
    add(function, name, sql, result, 0 if exact else None, args.get("nan") == "ignore")


def vary(values, k):
    return values[k % len(values)]


def boundary(mode, kind, k):
    """The arguments for a mode; cval as the type can hold it."""
    if mode == "reflect":
        return {}
    values = {"f": [2.5, 0, -40.0], "i": [7, 0, -40], "u": [7, 0, 200]}[np.dtype(kind).kind]
    value = vary(values, k)
    return {"mode": mode, "cval": value} if mode == "constant" and value else {"mode": mode}


def footprints(dims, k):
    """Footprints with holes, some of even length."""
    shape = vary([(3,) * dims, tuple([4, 3, 2, 3][:dims]), tuple([5, 2, 3, 1][:dims])], k)
    rng = np.random.default_rng(1000 * dims + k)
    while True:
        footprint = rng.integers(0, 2, shape)
        if 1 < footprint.sum() < footprint.size:
            return footprint.tolist()


def weights(dims, k):
    shape = vary([(3,) * dims, tuple([4, 3, 2, 3][:dims]), tuple([2, 5, 3, 1][:dims])], k)
    rng = np.random.default_rng(2000 * dims + k)
    if k % 2:
        return rng.integers(-4, 9, shape).tolist()
    return np.round(rng.normal(0, 1, shape), 2).tolist()


def usual(function, dims, k, kind):
    """Arguments that change from case to case: the positional ones first."""
    per_axis = [5, 2, 3, 4][:dims]
    even = 1 if k % 2 else 0
    if function == "gaussian_filter":
        return vary([{"sigma": 1.0}, {"sigma": 0.7, "order": 0}, {"sigma": [1.5, 0.5, 1, 0.8][:dims]},
                     {"sigma": 1.2, "order": 1}, {"sigma": 2, "truncate": 2.0},
                     {"sigma": 1, "order": [2, 0, 1, 0][:dims]}, {"sigma": 1.5, "radius": 2}], k)
    if function in ("gaussian_laplace", "gaussian_gradient_magnitude"):
        return vary([{"sigma": 1.0}, {"sigma": [1.5, 0.6, 1, 0.8][:dims]}, {"sigma": 2, "truncate": 2.0}], k)
    if function in ("convolve", "correlate"):
        kernel = weights(dims, k)
        shifted = [-1 if n > 1 else 0 for n in np.shape(kernel)]
        return {"weights": kernel} | vary([{}, {"origin": shifted}, {}, {"origin": [0, *shifted[1:]]}], k)
    if function in ("sobel", "prewitt"):
        return vary([{}, {"axis": 0}, {"axis": -1}, {"axis": dims - 1}], k)
    if function == "laplace":
        return {}
    box = vary([{"size": 3}, {"size": 4}, {"size": per_axis}, {"size": 3, "origin": 1},
                {"size": per_axis, "origin": [-1, 0, 1, -2][:dims]}, {"size": 2}, {"size": 5}], k)
    if function == "percentile_filter":
        return {"percentile": vary([30, 100, 0, 62.5, -20, 99], k)} | box
    if function == "rank_filter":
        return {"rank": vary([1, -2, 0, -1], k)} | box
    if function in GREY:
        if k % 4 == 1:
            return {"footprint": footprints(dims, k)}
        if k % 4 == 3 and kind != "u1":
            shape = vary([(3,) * dims, tuple([2, 3, 2, 1][:dims])], k // 4)
            rng = np.random.default_rng(3000 * dims + k)
            return {"structure": rng.integers(-9, 9, shape).tolist()}
    elif function in PICKS and k % 5 == 4:
        footprint = {"footprint": footprints(dims, k)}
        return {key: box[key] for key in ()} | {key: v for key, v in (
            ("percentile", 62.5), ("rank", 1)) if function.startswith(key)} | footprint
    return box


def every_function_mode_and_dimension_count():
    for n, function in enumerate(FUNCTIONS):
        for dims in (1, 2, 3, 4):
            for m, mode in enumerate(MODES):
                k = n + 2 * dims + m + (dims * m) // 2
                kind = vary(["f8", "f4", "i2", "u1", "i8"], n + m + 3 * dims)
                args = usual(function, dims, k, kind)
                edge = boundary(mode, kind, k)
                if function in GREY and "structure" in args and kind == "i2" and mode == "constant":
                    edge["cval"] = -7
                case(function, f"{kind}_{dims}d", [key for key in args if key in ("sigma", "size", "percentile", "rank", "weights")], **args, **edge)


def larger_arrays_and_arrays_smaller_than_the_window():
    wide = {"gaussian_filter": {"sigma": 2.0}, "uniform_filter": {"size": 6}, "median_filter": {"size": 5},
            "percentile_filter": {"percentile": 80, "size": 4}, "rank_filter": {"rank": 5, "size": 3},
            "minimum_filter": {"size": 5}, "maximum_filter": {"size": 4},
            "grey_opening": {"size": 3}, "grey_closing": {"size": 4}, "white_tophat": {"size": 5},
            "local_mean": {"size": 5}, "local_stddev": {"size": 6},
            "gaussian_laplace": {"sigma": 1.5}, "gaussian_gradient_magnitude": {"sigma": 1.0}}
    for n, (function, args) in enumerate(wide.items()):
        case(function, "f8_2w", **args)
        case(function, "f4_2w", **args, mode=vary(MODES[1:4], n))
        case(function, vary(["f8_3w", "f8_1w", "i2_3w", "f8_4w"], n), **args, mode=vary(MODES, n + 3))
    for n, function in enumerate(["sobel", "prewitt", "laplace"]):
        case(function, "u1_2w", mode="mirror")
        case(function, "f8_3w", mode="wrap")
    case("convolve", "f8_2w", weights=weights(2, 1), mode="wrap")
    case("correlate", "i2_3w", weights=weights(3, 2), mode="mirror")

    huge = {"gaussian_filter": {"sigma": 3.0}, "uniform_filter": {"size": 11}, "median_filter": {"size": 9},
            "percentile_filter": {"percentile": 40, "size": 12}, "rank_filter": {"rank": -7, "size": 9},
            "minimum_filter": {"size": 10}, "maximum_filter": {"size": [9, 14]},
            "grey_erosion": {"size": 9}, "grey_dilation": {"size": 10}, "grey_opening": {"size": 8},
            "local_mean": {"size": 11}, "local_stddev": {"size": [12, 15]},
            "gaussian_laplace": {"sigma": 2.0}, "gaussian_gradient_magnitude": {"sigma": 2.5},
            "correlate": {"weights": np.round(np.random.default_rng(5).normal(0, 1, (9, 12)), 2).tolist()},
            "convolve": {"weights": np.random.default_rng(6).integers(-3, 4, (10, 9)).tolist()}}
    for n, (function, args) in enumerate(huge.items()):
        for m, mode in enumerate(MODES):
            kind = vary(["f8", "i2", "u1"], n + m)
            case(function, f"{kind}_3x4", **args, **boundary(mode, kind, n + m))
        if "weights" in args:
            args = {"weights": args["weights"][0]}
        flat = {k: v[0] if k == "size" and isinstance(v, list) else v for k, v in args.items()}
        for mode in ("mirror", "wrap"):
            case(function, "f8_short", **flat, mode=mode)
        case(function, "f8_one", **flat, mode=vary(MODES, n))
        if "weights" not in args:
            case(function, "f8_row", **flat, mode=vary(MODES, n + 1))
            case(function, "f8_1x1x2", **flat, mode=vary(MODES, n + 2))
    for function in ("sobel", "prewitt", "laplace"):
        for name, mode in (("f8_one", "mirror"), ("f8_row", "mirror"), ("f8_1x1x2", "wrap"), ("f8_short", "reflect")):
            case(function, name, mode=mode)


def missing_elements():
    sized = {"gaussian_filter": {"sigma": 0.7}, "uniform_filter": {"size": 3}, "median_filter": {"size": 3},
             "percentile_filter": {"percentile": 70, "size": 3}, "rank_filter": {"rank": -1, "size": 3},
             "minimum_filter": {"size": 3}, "maximum_filter": {"size": 3},
             "local_mean": {"size": 3}, "local_stddev": {"size": 3}}
    kernel = [[1, 2, 1], [2, 5, 2], [1, 3, 2]]
    both = sized | {"convolve": {"weights": kernel}, "correlate": {"weights": kernel}}
    for n, (function, args) in enumerate(both.items()):
        for m, mode in enumerate(MODES):
            name = vary(["f8_nan", "f4_nan"], m)
            edge = boundary(mode, "f8", n + m)
            case(function, name, **args, **edge)
            case(function, name, **args, **edge, nan="ignore")
        case(function, "f8_nan_all", **args, nan="ignore")
        # without a NaN the answer is the same
        case(function, "f8_2d", **args, mode="mirror", nan="ignore")
    for n, (function, args) in enumerate(sized.items()):
        even = args if "sigma" in args else args | {"size": 4}
        case(function, "f8_nan_1d", **even, nan="ignore", mode=vary(MODES, n))
        case(function, "f8_nan_1d", **args, mode=vary(MODES, n + 1))
        case(function, "f8_nan_3d", **args, nan="ignore", mode=vary(MODES, n + 2))
        case(function, "f8_nan_3d", **even, mode=vary(MODES, n + 3))
        case(function, "f4_nan_4d", **args, nan=vary(["propagate", "ignore"], n), mode=vary(MODES, n + 4)) if n % 2 else \
            case(function, "f4_nan_4d", **args, mode=vary(MODES, n + 4))
        if "size" in args:
            case(function, "f8_nan", **args | {"size": [4, 2], "origin": [1, -1]}, nan="ignore")
            case(function, "f8_nan", **args | {"size": 2, "axes": 1}, nan="ignore", mode="wrap")
        # a window that the array's end cuts
        case(function, "f8_2d", **args, mode="constant", cval=math.nan, nan="ignore")
        case(function, "f8_2d", **args, mode="constant", cval=math.nan)
    for function in ("median_filter", "minimum_filter", "maximum_filter"):
        case(function, "f8_nan", footprint=[[0, 1, 0], [1, 1, 1], [0, 1, 0]])
        case(function, "f8_nan", footprint=[[1, 0, 1], [0, 0, 1]], nan="ignore")
    # no weight, no NaN
    case("correlate", "f8_nan", weights=[[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    case("convolve", "f4_nan", weights=[[1, 0, 0], [0, 2, 0]], mode="nearest")
    case("correlate", "f8_nan_1d", weights=[3, 2, 1], nan="ignore")
    case("convolve", "f8_nan_1d", weights=[4, 3, 2, 1], nan="ignore", mode="wrap")
    for function in ("sobel", "prewitt"):
        case(function, "f8_nan")
        case(function, "f4_nan", axis=0, mode="wrap")
        case(function, "f8_nan_3d", axis=1, mode="constant")
    for function, args in (("laplace", {}), ("gaussian_laplace", {"sigma": 0.6}), ("gaussian_gradient_magnitude", {"sigma": 0.6})):
        case(function, "f8_nan", **args)
        case(function, "f8_nan_3d", **args, mode="mirror")
    case("gaussian_filter", "f8_nan", sigma=0.8, order=[0, 1])
    for n, function in enumerate(GREY):
        case(function, "f8_nan", size=3, mode=vary(MODES, n))
        case(function, "f4_nan", footprint=[[0, 1, 0], [1, 1, 1]], mode=vary(MODES, n + 2))
        case(function, "f8_nan", structure=[[1, 2, 3], [0, 5, 1]])
    case("uniform_filter", "f8_inf", size=3)
    case("uniform_filter", "f8_inf", size=4, mode="wrap")
    case("correlate", "f8_inf", weights=kernel)
    case("maximum_filter", "f8_inf", size=3, mode="wrap")
    case("minimum_filter", "f8_inf", size=2, nan="ignore")
    case("median_filter", "f8_inf", size=3, nan="ignore")


def types_and_extremes():
    for n, (name, mode) in enumerate((("u1_2d", "reflect"), ("i2_2d", "wrap"), ("i8_1d", "mirror"), ("u1_3d", "constant"),
                                      ("u1_patch", "nearest"), ("u1_step", "reflect"), ("i2_3x4", "mirror"))):
        edge = boundary(mode, ARRAYS[name].dtype, 0)
        for function in LINEAR:
            args = {"gaussian_filter": {"sigma": 1.2}, "uniform_filter": {"size": vary([3, 4], n)},
                    "convolve": {"weights": weights(ARRAYS[name].ndim, n)}, "correlate": {"weights": weights(ARRAYS[name].ndim, n + 1)},
                    "gaussian_laplace": {"sigma": 1.0}, "gaussian_gradient_magnitude": {"sigma": 1.0}}.get(function, {})
            if function != "gaussian_gradient_magnitude" or name == "i8_1d":  # its squares would overflow
                case(function, name, **args, **edge, dtype="same")
    case("gaussian_filter", "u1_patch", sigma=[2, 0.8], mode="mirror", dtype="same")
    case("uniform_filter", "u1_patch", size=[2, 5], origin=[0, 1], mode="wrap", dtype="same")
    case("sobel", "i2_ends", axis=0, mode="wrap", dtype="same")
    case("gaussian_filter", "f4_2d", sigma=1.3, dtype="same")
    case("uniform_filter", "f8_2d", size=3, mode="wrap", dtype="same")
    picks = {"median_filter": {"size": 3}, "percentile_filter": {"percentile": 90, "size": [4, 2]}, "rank_filter": {"rank": 2, "size": 2},
             "minimum_filter": {"size": 3}, "maximum_filter": {"size": [2, 3]}}
    for n, (function, args) in enumerate(picks.items()):
        case(function, "i2_ends", **args, mode=vary(MODES, n))
        case(function, "i8_ends", **args, mode=vary(MODES, n + 1))
        case(function, "u1_ties", **args, mode=vary(MODES, n + 2))
        flat = args | ({"size": 4} if function == "rank_filter" else {"size": 3})
        case(function, "i8_ends_1d", **flat, mode=vary(MODES, n + 1))
        case(function, "f4_mag", **flat, mode=vary(MODES, n + 3))
    for n, function in enumerate(GREY[:4]):
        case(function, "i2_ends", size=3, mode=vary(MODES, n))
        case(function, "u1_ties", footprint=[[1, 1, 0], [0, 1, 1]], mode=vary(MODES, n + 1))
    for n, function in enumerate(("uniform_filter", "local_mean", "local_stddev")):
        case(function, "f8_mag", size=3, mode=vary(MODES, n))
        case(function, "f4_mag", size=5, mode=vary(MODES, n + 1))
        case(function, "i2_ends", size=[3, 4], mode=vary(MODES, n + 2))
        case(function, "u1_patch", size=4)
    for function, args in (("gaussian_filter", {"sigma": 1.0}), ("laplace", {}), ("sobel", {"axis": 0}), ("prewitt", {}),
                           ("gaussian_laplace", {"sigma": 1.0}), ("gaussian_gradient_magnitude", {"sigma": 1.0}),
                           ("correlate", {"weights": [[0.5, -1.25], [2, 0.1]]}), ("convolve", {"weights": [[0.5, -1.25], [2, 0.1]]})):
        case(function, "f8_mag", **args)
        case(function, "i2_ends", **args, mode="mirror")


def arguments():
    g = "gaussian_filter"
    case(g, "f8_2d", ["sigma", "order", "mode", "cval", "truncate"], sigma=1.5, order=0, mode="constant", cval=-3, truncate=3.0)
    case(g, "f8_2d", ["sigma", "order", "mode"], sigma=[1.5, 0.5], order=[1, 0], mode=["wrap", "nearest"])
    case(g, "f8_2d", ["sigma", "order", "mode", "cval", "truncate", "radius", "axes", "dtype", "nan"], sigma=1, order=0, mode="mirror",
         cval=0, truncate=4, radius=2, axes=[0, 1], dtype="same", nan="propagate")
    for n, args in enumerate(({"order": 1}, {"order": 2}, {"order": 3}, {"order": [0, 3]}, {"order": [2, 1]}, {"order": [1, 1], "radius": 3},
                              {"radius": [1, 4]}, {"radius": 0}, {"radius": 20}, {"truncate": 1.0}, {"truncate": 0.2}, {"truncate": 6.5})):
        case(g, vary(["f8_2d", "i2_2d", "f4_2d"], n), sigma=vary([1.0, 0.8, [1.4, 0.9]], n), **args, mode=vary(MODES, n))
    for n, args in enumerate(({"sigma": [0, 2]}, {"sigma": [1.0, 1e-16]}, {"sigma": 0}, {"sigma": 0.1}, {"sigma": [0.3, 6]})):
        case(g, "f8_2d", **args, mode=vary(MODES, n))
    for n, args in enumerate(({"axes": 0}, {"axes": -1}, {"axes": [1]}, {"axes": [0, 2], "sigma": [1.0, 0.5]}, {"axes": [-1, 0], "sigma": [1.0, 0.5]},
                              {"axes": [1, 2], "mode": ["wrap", "mirror"]}, {"axes": [2, 0], "order": [0, 1]})):
        case(g, "f8_3d", **{"sigma": 1.2, "mode": vary(MODES, n)} | args)
    for n, modes in enumerate((["reflect", "wrap"], ["constant", "mirror"], ["nearest", "constant"])):
        case(g, "f8_2d", sigma=1.5, mode=modes, cval=4.0)
        case("uniform_filter", "f8_2d", size=[4, 5], mode=modes, cval=4.0)
        case("minimum_filter", "f8_2d", size=[3, 4], mode=modes, cval=4.0)
        case("maximum_filter", "i2_2d", size=[5, 2], mode=modes, cval=4)
        case("laplace", "f8_2d", mode=modes, cval=4.0)
        case("sobel", "f8_2d", mode=modes, cval=4.0)
        case("prewitt", "f8_2d", axis=0, mode=modes, cval=4.0)
    case("sobel", "f8_3d", ["axis", "mode", "cval"], axis=1, mode="constant", cval=5.5)
    case("prewitt", "u1_3d", ["axis", "mode"], axis=-2, mode="mirror")
    case("sobel", "f8_4d", axis=2)
    for axes in (0, [1], [0, 2]):
        case("laplace", "f8_3d", axes=axes, mode="wrap")
        case("gaussian_laplace", "f8_3d", sigma=1.1, axes=axes, mode="mirror")
        case("gaussian_gradient_magnitude", "f8_3d", sigma=1.1, axes=axes, mode="nearest")
    case("gaussian_laplace", "f8_2d", ["sigma", "mode", "cval", "truncate"], sigma=1.2, mode="constant", cval=2.0, truncate=2.5)
    case("gaussian_gradient_magnitude", "f8_2d", ["sigma", "mode", "cval", "truncate"], sigma=1.2, mode="constant", cval=2.0, truncate=2.5)
    case("laplace", "f8_2d", ["mode", "cval"], mode="constant", cval=2.0)

    boxes = {"uniform_filter": {}, "median_filter": {}, "percentile_filter": {"percentile": 25}, "rank_filter": {"rank": 1},
             "minimum_filter": {}, "maximum_filter": {}, "local_mean": {}, "local_stddev": {}}
    for n, (function, args) in enumerate(boxes.items()):
        case(function, "f8_2d", [*args, "size", "mode", "cval", "origin"], **args, size=[4, 3], mode="constant", cval=1.5, origin=[-2, 1])
        for m, more in enumerate(({"axes": 0, "size": 4}, {"axes": -1, "size": 3, "origin": 1}, {"axes": [0, 2], "size": [2, 3], "origin": [-1, 1]},
                                  {"axes": [2, 1], "size": [4, 2]}, {"size": [1, 3, 1]}, {"size": [2, 1, 6], "origin": [0, 0, -3]})):
            case(function, "f8_3d", **args, **more, mode=vary(MODES, n + m))
        case(function, "f8_2d", **args, size=[2, 2], origin=[-1, -1], mode="wrap")
        case(function, "f8_2d", **args, size=[3, 5], origin=[-1, 2], mode="mirror")
        if "rank" not in args:
            case(function, "i2_2d", **args, size=1)
    cross = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    for n, function in enumerate(PICKS):
        args = boxes[function]
        case(function, "f8_2d", **args, footprint=cross, mode=vary(MODES, n))
        case(function, "i2_2d", **args, footprint=[[True, False], [True, True], [False, True]], origin=[-1, 0], mode=vary(MODES, n + 1))
        case(function, "u1_2d", **args, footprint=[[1, 1, 1, 1], [1, 0, 0, 1]], origin=[0, -2], mode=vary(MODES, n + 2))
        case(function, "f8_1d", **args, footprint=[1, 0, 1, 1], mode=vary(MODES, n + 3))
        case(function, "f8_3d", **args, footprint=cross, axes=[0, 2], mode=vary(MODES, n + 4))
        case(function, "f8_3x4", **args, footprint=footprints(2, n) and [[1, 0] * 4, [0, 1] * 4] * 3, mode=vary(MODES, n))
    for percentile in (0, 100, 50, 12.5, 99.9, -1, 100.0):
        case("percentile_filter", "f8_2d", ["percentile", "size"], percentile=percentile, size=3)
    for rank in (0, 8, -1, -9, 4, -3):
        case("rank_filter", "i2_2d", ["rank", "size"], rank=rank, size=3)

    for n, function in enumerate(("convolve", "correlate")):
        case(function, "f8_2d", ["weights", "mode", "cval", "origin"], weights=[[1, 2], [3, 4], [5, 6]], mode="constant", cval=2.5, origin=[1, -1])
        for m, more in enumerate(({"weights": [1, 2, 3], "axes": 0}, {"weights": [1, 2, 3, 4], "axes": -1, "origin": 1},
                                  {"weights": [[1, 0.5], [-2, 3], [0, 1]], "axes": [0, 2]}, {"weights": [[1, 2, 3]], "axes": [1, 2], "origin": [0, -1]},
                                  {"weights": [[[1], [2]], [[0], [-1]]]}, {"weights": [[[2]]]})):
            case(function, vary(["f8_3d", "i2_3d", "f4_3d"], m), **more, mode=vary(MODES, n + m))
        for origin in (-2, -1, 0, 1):
            case(function, "f8_1d", weights=[1, -2, 3.5, 4], origin=origin, mode=vary(MODES, origin + n))
        case(function, "u1_2d", weights=[[0, 0, 0], [0, 1, 0], [0, 0, 0]])
        case(function, "f8_2d", weights=[[1e-9, 0], [1, 1e9]], mode="wrap")

    for n, function in enumerate(GREY):
        case(function, "f8_2d", ["size"], size=[3, 4], mode=vary(MODES, n), origin=[1, -1])
        case(function, "f8_2d", ["size", "footprint", "structure", "mode"], size=None, footprint=cross, structure=None, mode="wrap")
        case(function, "i2_2d", footprint=cross, structure=[[1, 2, 3], [4, 5, 6], [7, 8, 9]], mode=vary(MODES, n + 1))
        case(function, "f8_2d", structure=[[0.5, -1], [2, 4], [0, 1.5]], origin=[-1, 0], mode=vary(MODES, n + 2))
        case(function, "f8_1d", footprint=[1, 0, 1, 1], origin=-1, mode=vary(MODES, n + 3))
        case(function, "u1_2d", size=2, mode=vary(MODES[:4], n))
        case(function, "u1_3d", size=[1, 2, 3], mode=vary(MODES[:4], n + 1))


def chains():
    gaussian, median, uniform_ = (lambda x, s, **a: filtered("gaussian_filter", x, sigma=s, **a)), \
        (lambda x, s, **a: filtered("median_filter", x, size=s, **a)), (lambda x, s, **a: filtered("uniform_filter", x, size=s, **a))
    least, most = (lambda x, s, **a: filtered("minimum_filter", x, size=s, **a)), (lambda x, s, **a: filtered("maximum_filter", x, size=s, **a))
    sobel = lambda x, axis, **a: filtered("sobel", x, axis=axis, **a)
    mean, deviation = (lambda x, s, **a: filtered("local_mean", x, size=s, **a)), (lambda x, s, **a: filtered("local_stddev", x, size=s, **a))
    anywhere = [
        ("value - gaussian_filter(value, 2)", lambda x: x - gaussian(x, 2)),
        ("median_filter(gaussian_filter(value, 1.5, mode => 'wrap'), 3)", lambda x: median(gaussian(x, 1.5, mode="wrap"), 3)),
        ("gaussian_filter(value, 1) - gaussian_filter(value, 2)", lambda x: gaussian(x, 1) - gaussian(x, 2)),
        ("gaussian_filter(gaussian_filter(value, 1), 0.8)", lambda x: gaussian(gaussian(x, 1), 0.8)),
        ("maximum_filter(value, 3) - minimum_filter(value, 3)", lambda x: most(x, 3) - least(x, 3)),
        ("minimum_filter(maximum_filter(value, 4, mode => 'mirror'), 4, mode => 'nearest')",
         lambda x: least(most(x, 4, mode="mirror"), 4, mode="nearest")),
        ("uniform_filter(median_filter(value, 3, mode => 'nearest'), 5, mode => 'constant', cval => 3)",
         lambda x: uniform_(median(x, 3, mode="nearest"), 5, mode="constant", cval=3)),
        ("maximum_filter(median_filter(gaussian_filter(value, 1, mode => 'mirror'), 3, mode => 'wrap'), 2, origin => -1)",
         lambda x: most(median(gaussian(x, 1, mode="mirror"), 3, mode="wrap"), 2, origin=-1)),
        ("value - median_filter(value, 5)", lambda x: x - median(x, 5)),
        ("laplace(uniform_filter(value, 3, mode => 'wrap'), mode => 'constant', cval => -2)",
         lambda x: filtered("laplace", uniform_(x, 3, mode="wrap"), mode="constant", cval=-2)),
    ]
    for n, (sql, compute) in enumerate(anywhere):
        names = ["f8_2d", "f4_2d", "i2_2d", vary(["f8_1d", "f8_3d"], n), vary(["f8_2w", "f8_3x4"], n), vary(["f8_nan", "f8_4d", "f8_3w"], n)]
        for name in names:
            if name == "i2_2d" and sql.startswith("maximum_filter(value, 3) -"):
                assert np.abs(compute(ARRAYS[name]).astype("i8")).max() < 32768
            add("chains", name, sql, compute(ARRAYS[name]))
    plane = [
        ("sqrt(sobel(value, 0) * sobel(value, 0) + sobel(value, 1) * sobel(value, 1))",
         lambda x: np.sqrt(sobel(x, 0) * sobel(x, 0) + sobel(x, 1) * sobel(x, 1))),
        ("abs(sobel(value, axis => 0, mode => 'wrap')) + abs(sobel(value, axis => 1, mode => 'mirror'))",
         lambda x: np.abs(sobel(x, 0, mode="wrap")) + np.abs(sobel(x, 1, mode="mirror"))),
        ("(value - local_mean(value, 5)) / local_stddev(value, 5)", lambda x: (x - mean(x, 5)) / deviation(x, 5)),
        ("local_stddev(value - median_filter(value, 3), 5, mode => 'mirror')", lambda x: deviation(x - median(x, 3), 5, mode="mirror")),
        ("gaussian_filter(abs(value), 1.5, mode => 'constant')", lambda x: gaussian(np.abs(x), 1.5, mode="constant")),
        ("median_filter(value * value, 3)", lambda x: median(x * x, 3)),
        ("gaussian_filter(value * 2 + 1, 1.5)", lambda x: gaussian(x * 2 + 1, 1.5)),
        ("gaussian_filter(value - gaussian_filter(value, 2, mode => 'wrap'), 1, mode => 'nearest')",
         lambda x: gaussian(x - gaussian(x, 2, mode="wrap"), 1, mode="nearest")),
        ("CASE WHEN value > gaussian_filter(value, 2) THEN 1 ELSE 0 END", lambda x: (x > gaussian(x, 2)).astype("i8")),
        ("sobel(sobel(value, 0, 'wrap'), 1, 'constant', 2.5)", lambda x: sobel(sobel(x, 0, mode="wrap"), 1, mode="constant", cval=2.5)),
        ("grey_closing(grey_opening(value, 3), 3)", lambda x: filtered("grey_closing", filtered("grey_opening", x, size=3), size=3)),
        ("white_tophat(gaussian_filter(value, 0.7), 5, mode => 'mirror')",
         lambda x: filtered("white_tophat", gaussian(x, 0.7), size=5, mode="mirror")),
        ("convolve(correlate(value, [[1, 2], [3, 4]], mode => 'wrap'), [[1, 0, -1]], mode => 'mirror')",
         lambda x: filtered("convolve", filtered("correlate", x, weights=[[1, 2], [3, 4]], mode="wrap"), weights=[[1, 0, -1]], mode="mirror")),
        ("percentile_filter(rank_filter(value, 1, 2, mode => 'constant', cval => 5), 75, [3, 2])",
         lambda x: filtered("percentile_filter", filtered("rank_filter", x, rank=1, size=2, mode="constant", cval=5), percentile=75, size=[3, 2])),
        ("gaussian_filter(gaussian_filter(gaussian_filter(value, 1, mode => 'constant'), 1, mode => 'mirror'), 1, mode => 'wrap')",
         lambda x: gaussian(gaussian(gaussian(x, 1, mode="constant"), 1, mode="mirror"), 1, mode="wrap")),
        ("gaussian_filter(value, 1, nan => 'ignore') - gaussian_filter(value, 2, nan => 'ignore')",
         lambda x: gaussian(x, 1, nan="ignore") - gaussian(x, 2, nan="ignore")),
    ]
    for n, (sql, compute) in enumerate(plane):
        for name in ("f8_2d", vary(["f8_3x4", "f8_2w"], n)):
            add("chains", name, sql, compute(ARRAYS[name]))
    add("chains", "u1_step", "median_filter(gaussian_filter(value, 1, dtype => 'same'), 3)", median(gaussian(ARRAYS["u1_step"], 1, dtype="same"), 3))
    add("chains", "i2_2d", "gaussian_filter(median_filter(value, 3), 1)", gaussian(median(ARRAYS["i2_2d"], 3), 1))
    add("chains", "f8_nan", "minimum_filter(gaussian_filter(value, 0.6), 2)", least(gaussian(ARRAYS["f8_nan"], 0.6), 2))


every_function_mode_and_dimension_count()
larger_arrays_and_arrays_smaller_than_the_window()
missing_elements()
types_and_extremes()
arguments()
chains()

# --- What tests/spec/array shows ----------------------------------------------------------------

SPEC = {
    "extend": np.arange(1.0, 4), "extend_2d": np.arange(1.0, 10).reshape(3, 3),
    "impulse": np.zeros((100, 100)), "ones": np.ones(7),
    "rank_1d": np.arange(1, 6, dtype="i4"), "rank_mixed": np.array([3, 2, 5, 1, 4], "i4"),
    "rank_2d": np.array([[3, 2, 5, 1, 4], [5, 8, 3, 7, 1], [5, 6, 9, 3, 5]], "i4"),
    "fives": np.arange(144.0).reshape(12, 12) ** 2, "elevens": np.arange(144.0).reshape(12, 12) ** 2,
    "sky": np.random.default_rng(242).integers(-400, 400, (15, 16)) / 4,
}
SPEC["impulse"][50, 50] = 1
CHUNKS = {"impulse": (16, 16), "fives": (5, 5), "elevens": (11, 11), "sky": (4, 5), "rank_2d": (2, 2), "extend": (1,), "extend_2d": (2, 1)}


def spec_values():
    """Prints what the specifications expect."""
    def show(sql, value):
        print(sql, np.asarray(value).tolist())

    def both(sql, r):
        y, x = np.indices(r.shape)
        show(sql, [round(float((r * (y + 1)).sum()), 6), round(float((r * (x + 1) ** 2).sum()), 6)])

    a, b = SPEC["extend"], SPEC["extend_2d"]
    for mode in MODES:
        for kernel in ([1, 0], [1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 1], [0] * 8 + [1]):
            show(f"correlate extend {kernel} {mode}", ndimage.correlate(a, kernel, mode=mode))
        for kernel in ([[1, 0], [0, 0]], [[0, 0, 0], [0, 0, 0], [0, 0, 1]]):
            show(f"correlate extend_2d {kernel} {mode}", ndimage.correlate(b, kernel, mode=mode))
    show("impulse response", [ndimage.convolve([0., 1, 0], [1, 2, 3]), ndimage.correlate([0., 1, 0], [1, 2, 3])])
    g = ndimage.gaussian_filter
    impulse = SPEC["impulse"]
    show("truncate 2, 5", [(g(impulse, 5, truncate=t) > 0).sum() for t in (2, 5)])
    f = g(impulse, [0.5, 2.5], truncate=3.5) > 0
    show("rows, columns", [f.any(1).sum(), f.any(0).sum()])
    show("radius = truncate", np.array_equal(g(impulse, 2, truncate=3.5), g(impulse, 2, radius=7)))
    show("impulse row", g(impulse, 1)[50, 48:53].round(10))
    show("median 2", ndimage.median_filter(SPEC["rank_1d"][:, None], (2, 1))[:, 0])
    show("median 3", ndimage.median_filter(SPEC["rank_mixed"][:, None], (3, 1))[:, 0])
    for p in (17, -83, 0, 100):
        show(f"percentile {p}", ndimage.percentile_filter(SPEC["rank_2d"], p, (2, 3)))
    show("median (2, 3)", ndimage.median_filter(SPEC["rank_2d"], (2, 3)))
    show("rank 1, -2 (2, 3)", [ndimage.rank_filter(SPEC["rank_2d"], r, (2, 3)) for r in (1, -2)])
    calls = {
        "gaussian_filter": {"sigma": 2}, "uniform_filter": {"size": 9}, "median_filter": {"size": 7}, "percentile_filter": {"percentile": 20, "size": 6},
        "rank_filter": {"rank": -5, "size": 8}, "minimum_filter": {"size": 9}, "maximum_filter": {"size": 8},
        "convolve": {"weights": [[1, 2, 3, 4, 5, 6, 7]]}, "correlate": {"weights": [[1], [2], [3], [4], [5], [6], [7]]},
        "sobel": {"axis": 0}, "prewitt": {"axis": 1}, "laplace": {}, "gaussian_laplace": {"sigma": 1.5}, "gaussian_gradient_magnitude": {"sigma": 1.5},
        "grey_erosion": {"size": 6}, "grey_dilation": {"size": 6}, "grey_opening": {"size": 5}, "grey_closing": {"size": 4}, "white_tophat": {"size": 5},
        "local_mean": {"size": 7}, "local_stddev": {"size": 6},
    }
    assert set(calls) == set(FUNCTIONS)
    for function, args in calls.items():
        shown = ", ".join(["value"] + [f"{k} => {literal(v)}" for k, v in args.items()])
        for name, modes in (("sky", ["wrap"]), ("fives", ["reflect", "mirror"])):
            for mode in modes:
                both(f"{name}: {function}({shown}, mode => '{mode}')", filtered(function, SPEC[name], **args, mode=mode))
    for mode in MODES:
        both(f"extend_2d: uniform 15 {mode}", filtered("uniform_filter", b, size=15, mode=mode))
        both(f"extend_2d: gaussian 4 {mode}", filtered("gaussian_filter", b, sigma=4, mode=mode))
        both(f"extend_2d: median 9 {mode}", filtered("median_filter", b, size=9, mode=mode))


def write():
    with h5py.File(os.path.join(HERE, "filters.h5"), "w") as f:
        for name, array in ARRAYS.items():
            f[f"in/{name}"] = array
        for name, rows in OUT.items():
            f.create_dataset(f"out/{name}", data=np.stack(rows), chunks=(len(rows), *rows[0].shape), compression="gzip", compression_opts=9, shuffle=True)
        for name, array in SPEC.items():
            f.create_dataset(f"spec/{name}", data=array, chunks=CHUNKS.get(name))
    with open(os.path.join(HERE, "filters_cases.tsv"), "w") as f:
        f.write("id\tinput\tsql\texpected\trow\ttolerance\tnan\n")
        f.writelines("\t".join(row) + "\n" for row in CASES)
    print(len(CASES), "cases:", ", ".join(f"{name} {count}" for name, count in COUNTS.items()))


spec_values()
write()
