"""DataFusion's published specification records through a session of ours.

What does not hold is a failure, unless `records_that_differ.txt` lists it with its reason; what is listed
and holds is told, so that it can be struck. Left out, as they say nothing of answers: plans (EXPLAIN),
functions of Spark, and records that need files or tables which the crate does not bring. Not here: reading
the records (`records.py`).
"""

import collections
import pathlib
import re
import shutil

import answers
import records
from engine import Died, Engine, Hung

DIFFERING = pathlib.Path(__file__).with_name("records_that_differ.txt")
# Folders and files of other engines' functions, and of what is no answer.
LEFT_OUT = re.compile(r"^(spark/|tpch/|imdb|clickbench|encrypted_parquet|avro|explain|cast_extension_type_metadata)")
EXPLAIN = re.compile(r"^\s*(--[^\n]*\n\s*)*EXPLAIN\b", re.I)
MISSING_FILE = re.compile(r"testing/data|parquet-testing|core/tests|\.\./|test_files/(?!scratch)|WORKSPACE", re.I)
MADE = re.compile(r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:EXTERNAL\s+|UNBOUNDED\s+|TEMPORARY\s+)*(?:TABLE|VIEW)\s+"
                  r"(?:IF\s+NOT\s+EXISTS\s+)?([\w.\"]+)", re.I)
DIALECT = re.compile(r"sql_parser\.dialect\s*(?:(?:=|to)\s*'?\"?(\w+)|;?\s*$)", re.I)
COPIED = re.compile(r"\bTO\s+'([^']+)'", re.I)
FILLED = re.compile(r"\bINTO\s+([\w.\"]+)", re.I)
CHANGES = re.compile(r"^\s*(--[^\n]*\n\s*)*(CREATE|DROP|INSERT|SET|RESET|COPY|PREPARE|DEALLOCATE|DELETE|UPDATE|TRUNCATE)\b",
                     re.I)
SECONDS_MAX = 60


class File:
    """One file of records, in a session of its own."""

    def __init__(self, binary, mode, root, path, files):
        place = root / "session"
        shutil.rmtree(place, ignore_errors=True)
        scratch = place / "test_files" / "scratch" / path.stem
        scratch.mkdir(parents=True)
        shutil.copytree(files.parent / "data", place / "data")
        self.place = str(place).lstrip("/")
        self.dialect = "generic"
        prepare = ["SET datafusion.execution.target_partitions = 4"]
        self.engine = Engine(binary, mode, place, prepare=prepare, seconds_max=SECONDS_MAX)
        self.records = list(records.read(path, files))
        self.lost, self.lost_files = set(), set()

    def run(self):
        """Gives pairs of a record and what became of it: holds, fails, or left out, with a reason."""
        try:
            for record in self.records:
                yield record, *self.outcome(record)
        finally:
            self.engine.close()

    def outcome(self, record):
        sql = record.sql.strip().rstrip(";").rstrip()
        if EXPLAIN.match(sql):
            return "left out", "a plan"
        if records.is_several(sql) or records.is_unended(sql) or "$__" in sql:
            return "left out", "several statements, or no end"
        made = [name.strip('"').lower() for name in MADE.findall(sql)]
        dialect = DIALECT.search(sql)
        if dialect:
            self.dialect = (dialect.group(1) or "generic").lower()
        if dialect or self.dialect != "generic":
            self.lost.update(made)
            return "left out", "another dialect"
        made += [name.strip('"').lower() for name in FILLED.findall(sql)]
        if MISSING_FILE.search(sql) or any(path in sql for path in self.lost_files):
            self.lost.update(made)
            return "left out", "a file that the crate does not bring"
        if any(re.search(rf"\b{re.escape(name)}\b", sql, re.I) for name in self.lost):
            self.lost.update(made)
            self.lost_files.update(COPIED.findall(sql))
            return "left out", "a table that the crate does not bring"
        try:
            failed, text = self.engine.ask(sql)
        except (Hung, Died) as error:
            return "fails", f"{type(error).__name__}: {error}"
        if not failed and CHANGES.match(sql):
            self.engine.prepare.append(sql)
        if not failed and not FILLED.search(sql):
            self.lost.difference_update(made)
        return self.judged(record, failed, text, made)

    def judged(self, record, failed, text, made):
        if record.kind == "error":
            return ("holds", "") if failed else ("fails", f"gives an answer where an error is expected\n{text[:300]}")
        text = text.replace(self.place, "WORKSPACE_ROOT/datafusion/sqllogictest")
        if failed:
            missing = self.is_foreign(text)
            if missing:
                self.lost.update(made)
                return "left out", "a table or function that the crate's own program makes"
            # what reads it fails for the same reason
            self.lost.update(made)
            return "fails", text[:600]
        if record.kind != "query":
            return "holds", ""
        if records.holds(record, answers.fields_of(text)):
            return "holds", ""
        ours = records.rows(answers.fields_of(text), record)
        expected = [" ".join(line.split()) for line in record.expected]
        unlike = [(a, b) for a, b in zip(ours, expected) if a != b][:3]
        lines = [f"{len(ours)} rows here, {len(expected)} expected"] + [f"here {a}\nexpected {b}" for a, b in unlike]
        return "fails", "\n".join(lines)

    def is_foreign(self, text):
        """Whether a name is missing that no record of this file makes."""
        found = re.search(r"not found: table '(?:\w+\.)*(\w+)'|function '(async_abs|example)'",
                          text, re.I)
        if not found:
            return False
        name = next(group for group in found.groups() if group).lower()
        return not any(name in [made.strip('"').lower() for made in MADE.findall(record.sql)] for record in self.records)


def differing():
    """What is known to differ, by place, with the reason."""
    listed = {}
    if DIFFERING.exists():
        for line in DIFFERING.read_text().splitlines():
            if line.strip() and not line.startswith("#"):
                place, reason = line.split(None, 1)
                listed[place] = reason
    return listed


def run(binary, mode, root, wanted, verbose):
    crate = records.fetched(root / "fetch")
    files = crate / "test_files"
    listed = differing()
    count = collections.Counter()
    for path in sorted(files.rglob("*.slt")):
        name = str(path.relative_to(files))
        if LEFT_OUT.search(name) or (wanted and wanted not in name):
            continue
        here = collections.Counter()
        for record, became, reason in File(binary, mode, root, path, files).run():
            known = listed.get(record.place)
            if became == "fails" and known:
                became = "differs as listed"
            elif became == "holds" and known:
                print(f"{record.place} holds now, and is listed")
            here[became] += 1
            if became == "left out":
                count[f"left out: {reason}"] += 1
            if became == "fails":
                print(f"---- {record.place}\n{record.sql.strip()[:600]}\n{reason}", flush=True)
        count.update(here)
        if verbose:
            print(f"{name}: {dict(here)}", flush=True)
    judged = count["holds"] + count["fails"] + count["differs as listed"]
    for words, number in sorted(count.items()):
        print(f"{number:6} {words}")
    print(f"{100 * count['holds'] / max(judged, 1):.2f} % of {judged} self-contained records hold")
    return count["holds"] + count["differs as listed"], count["fails"]
