"""Answers of two engines as values that can be compared, and their comparison.

Almagest's come as CSV, in which an empty text and a missing value are one: so they are here, for both (what
queries compute of texts tells them apart). The peer's types say what a field is. Equal: the same rows as often, and in the same order where a query determines it. One
NaN, one zero. Doubles must be equal, or, as sums depend on their order, within 1e-12 of each other.
"""

import collections
import datetime
import decimal
import math
import struct

RELATIVE = 1e-12


def fields_of(text):
    """The rows of CSV, as texts and None, without the header."""
    rows, row, at, end = [], [], 0, len(text)
    while at < end:
        if text[at] == '"':
            pieces = []
            at += 1
            while True:
                stop = text.index('"', at)
                pieces.append(text[at:stop])
                if text[stop + 1:stop + 2] == '"':
                    pieces.append('"')
                    at = stop + 2
                else:
                    at = stop + 1
                    break
            row.append("".join(pieces))
        else:
            stop = at
            while text[stop] not in ",\n":
                stop += 1
            row.append(text[at:stop] or None)
            at = stop
        if text[at] == "\n":
            rows.append(row)
            row = []
        at += 1
    return rows[1:]


def single(value):
    """A double as the nearest REAL."""
    if math.isnan(value) or math.isinf(value):
        return value
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def read(text, type):
    """A field as the peer's type has it; a text that cannot be is left, and is then a difference."""
    if text is None:
        return None
    try:
        if type in ("DOUBLE", "FLOAT"):
            value = float(text)
            return single(value) if type == "FLOAT" else value
        if type == "VARCHAR":
            return text
        if type == "BOOLEAN":
            return {"true": True, "false": False}[text]
        if type == "DATE":
            return datetime.date.fromisoformat(text)
        if type.startswith("TIMESTAMP"):
            return datetime.datetime.fromisoformat(text)
        return decimal.Decimal(text)
    except (ValueError, KeyError, decimal.InvalidOperation):
        return text


def plain(value):
    """A value that is equal to itself and has a hash."""
    if hasattr(value, "dtype"):
        value = value.item()
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


def rows_of(text, types):
    """Rows of Almagest's."""
    return [tuple(plain(read(field or None, type)) for field, type in zip(row, types, strict=True))
            for row in fields_of(text)]


def rows_of_peer(rows):
    """Rows of Python values, as `rows_of` has them."""
    return [tuple(None if value == "" else plain(value) for value in row) for row in rows]


def near(one, other, relative, absolute):
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=relative, abs_tol=absolute)
    return one == other


def roughly(row):
    """An order in which rows that are near stand at the same place."""
    return tuple((value is None, type(value).__name__, f"{value:.8e}" if isinstance(value, float) else str(value))
                 for value in row)


def difference(ours, theirs, ordered, relative=RELATIVE, absolute=0.0):
    """None if the answers are equal; else a few lines that tell what differs."""
    if ordered and len(ours) == len(theirs):
        pairs = zip(ours, theirs)
    else:
        mine, other = collections.Counter(ours), collections.Counter(theirs)
        if mine == other:
            return None
        ours, theirs = list((mine - other).elements()), list((other - mine).elements())
        pairs = zip(sorted(ours, key=roughly), sorted(theirs, key=roughly))
    if len(ours) == len(theirs):
        unlike = [(one, other) for one, other in pairs
                  if not all(near(mine, peers, relative, absolute) for mine, peers in zip(one, other, strict=True))]
        if not unlike:
            return None
        return "\n".join(f"  here {one}\n  peer {other}" for one, other in unlike[:3])
    lines = [f"  rows that only one has: {len(ours)} here, {len(theirs)} of the peer"]
    lines += [f"  here {row}" for row in ours[:3]] + [f"  peer {row}" for row in theirs[:3]]
    return "\n".join(lines)
