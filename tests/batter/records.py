"""DataFusion's published specification records: fetching, reading, and the text of an answer's cells.

The crate `datafusion-sqllogictest` (Apache-2.0) holds them; cargo fetches it, in the version of the
workspace's lock file, and nothing of it is copied here. Its `src/engines/conversion.rs` says how cells are
written. Not here: asking (`slt_kind.py`).
"""

import decimal
import hashlib
import os
import pathlib
import re
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CRATE = "datafusion-sqllogictest"
MANIFEST = """[package]
name = "records"
version = "0.0.0"
edition = "2024"
[lib]
path = "nothing.rs"
[dependencies]
{crate} = {{ version = "={version}", default-features = false }}
[workspace]
"""


def fetched(folder):
    """The folder of the crate's sources, fetched by cargo if they are not there."""
    lock = (REPOSITORY / "Cargo.lock").read_text()
    version = re.search(r'name = "datafusion"\nversion = "([^"]+)"', lock).group(1)
    folder.mkdir()
    (folder / "Cargo.toml").write_text(MANIFEST.format(crate=CRATE, version=version))
    (folder / "nothing.rs").write_text("")
    return at_hand(version) or fetch(folder, version)


def at_hand(version):
    """What cargo has fetched before: its cache is locked while it builds something."""
    home = pathlib.Path(os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo"))
    return next(home.glob(f"registry/src/*/{CRATE}-{version}"), None)


def fetch(folder, version):
    subprocess.run(["cargo", "fetch", "--quiet"], cwd=folder, check=True)
    return at_hand(version) or sys.exit(f"cargo fetched no {CRATE} {version}")


class Record:
    """`kind`: ok, error, count or query; `types` and `sort` of a query; `expected` its lines."""

    def __init__(self, place, kind, sql, types="", sort=None, expected=()):
        self.place, self.kind, self.sql = place, kind, sql
        self.types, self.sort, self.expected = types, sort, list(expected)


def read(path, root):
    """The records of a file, in their order, with those of files that it includes."""
    lines = path.read_text().split("\n")
    at, skipped, sort = 0, False, None
    while at < len(lines):
        line, start = lines[at].strip(), at + 1
        at += 1
        words = line.split()
        if not words or line.startswith("#"):
            continue
        if words[0] == "halt":
            return
        if words[0] in ("onlyif", "skipif"):
            skipped |= (words[1].lower() == "datafusion") == (words[0] == "skipif")
        elif words[0] == "control" and words[1] == "sortmode":
            sort = None if words[2] == "nosort" else words[2]
        elif words[0] == "include":
            for included in sorted(path.parent.glob(words[1])):
                yield from read(included, root)
        elif words[0] in ("statement", "query"):
            sql, expected, at = body(lines, at, words[1] == "error")
            record = parsed(f"{path.relative_to(root)}:{start}", words, sql, expected, sort)
            if not skipped:
                yield record
            skipped = False


def body(lines, at, is_error):
    """The SQL, the lines below `----`, and where to go on."""
    sql, expected = [], []
    while at < len(lines) and not lines[at].strip():
        at += 1
    while at < len(lines) and lines[at].strip() and lines[at] != "----":
        sql.append(lines[at])
        at += 1
    if at < len(lines) and lines[at] == "----":
        at += 1
        # an error's text ends with two blank lines, rows with one
        while at < len(lines) and (lines[at] or (is_error and at + 1 < len(lines) and lines[at + 1].strip())):
            expected.append(lines[at])
            at += 1
    return "\n".join(sql), expected, at


def parsed(place, words, sql, expected, sort):
    if words[1] == "error":
        return Record(place, "error", sql)
    if words[0] == "statement":
        return Record(place, words[1], sql)
    named = [word for word in words[2:] if word in ("rowsort", "valuesort", "nosort")]
    return Record(place, "query", sql, words[1], named[0] if named else sort, expected)


def is_several(sql):
    """Whether more than one statement stands in a text: these are refused by DataFusion, and run here."""
    bare = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|\$\$.*?\$\$", "", sql, flags=re.S)
    return ";" in bare.strip().rstrip("; \n")


def is_unended(sql):
    bare = re.sub(r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|\$\$.*?\$\$", "", sql, flags=re.S)
    return "'" in bare or '"' in bare or "/*" in bare or "$$" in bare


def number(text, digits):
    """A number as the records have it: without an exponent, rounded, without zeros at its end."""
    try:
        value = decimal.Decimal(text)
    except decimal.InvalidOperation:
        return text
    if not value.is_finite():
        return "NaN" if value.is_nan() else "Infinity" if value > 0 else "-Infinity"
    with decimal.localcontext(prec=400):
        if digits is not None:
            value = value.quantize(decimal.Decimal(1).scaleb(-digits), decimal.ROUND_HALF_EVEN)
        text = f"{value.normalize():f}"
    return "0" if text == "-0" else text


def cell(text, type):
    """A field of CSV as a record has it."""
    if text is None:
        return "NULL"
    if text == "":
        return "(empty)"
    if type == "R":
        return number(text, 12)
    return text.rstrip("\n").replace("\0", "\\0")


def without_nulls(line):
    """CSV writes NULL within a list or a structure as nothing."""
    if "[" not in line and "{" not in line:
        return line
    return re.sub(r"(?<=[\[{,:])\s+|\s+(?=[\],}])", "", re.sub(r"\bNULL\b", "", line))


def rows(fields, record):
    """Rows as lines of a record; the last cell's own lines are numbered."""
    written = []
    for row in fields:
        types = record.types.ljust(len(row), "?")
        cells = [cell(text, type) for text, type in zip(row, types)]
        *above, last = cells or [""]
        lines = last.split("\n")
        if len(lines) < 2:
            written.append(cells)
            continue
        written.append(above)
        for place, line in enumerate(lines, 1):
            content = line.lstrip()
            written.append([f"{place:02}){'-' * (len(line) - len(content))}{content}"])
    if record.sort == "rowsort":
        written.sort()
    if record.sort == "valuesort":
        written = [[value] for value in sorted(value for row in written for value in row)]
    return [" ".join(" ".join(row).split()) for row in written]


def hashed(values):
    """What stands for many values."""
    text = "".join(value + "\n" for value in values)
    return f"{len(values)} values hashing to {hashlib.md5(text.encode()).hexdigest()}"


def holds(record, fields):
    """Whether an answer is what a record expects."""
    ours = rows(fields, record)
    if record.expected and " values hashing to " in record.expected[0]:
        cells = [[cell(text, type) for text, type in zip(row, record.types.ljust(len(row), "?"))] for row in fields]
        for made in (cells, sorted(cells)):
            if hashed([value for row in made for value in row]) == record.expected[0].strip():
                return True
    expected = [" ".join(line.split()) for line in record.expected]
    if any("<slt:ignore>" in line for line in expected):
        pattern = ".*".join(re.escape(piece) for piece in "\n".join(expected).split("<slt:ignore>"))
        return re.fullmatch(pattern + ".*", "\n".join(ours), re.S) is not None
    if all_alike(ours, expected):
        return True
    # without an ORDER BY, the expected order is the one that came once
    is_open = record.sort == "rowsort" or "order by" not in record.sql.lower().rsplit(")", 1)[-1]
    return is_open and all_alike(sorted(map(blank, ours)), sorted(map(blank, expected)))


def all_alike(ours, expected):
    if not any(expected) and all(blank(line) == "NULL" for line in ours):
        return True  # a line of an empty text
    return len(ours) == len(expected) and all(map(alike, ours, expected))


def blank(line):
    """A line without what CSV writes otherwise: an empty text as NULL, a duration as ISO 8601 has it."""
    line = re.sub(r"(-?\d+) days (-?\d+) hours (-?\d+) mins (-?[\d.]+) secs", in_seconds, line.replace("(empty)", "NULL"))
    line = re.sub(r"(-?)PT(-?[\d.]+)S", lambda found: plainly(found.group(1) + found.group(2)), line)
    return re.sub(r"\bP0D\b", "0 s", line)


def in_seconds(found):
    days, hours, minutes, seconds = map(decimal.Decimal, found.groups())
    return plainly(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def plainly(seconds):
    return number(str(seconds), None) + " s"


def alike(ours, expected):
    """Decimals are not rounded, doubles are; the records do not say which a number is."""
    if ours == expected or without_nulls(blank(ours)) == without_nulls(blank(expected)):
        return True
    one, other = ours.split(" "), expected.split(" ")
    return len(one) == len(other) and all(a == b or number(a, 12) == number(b, 12) for a, b in zip(one, other))
