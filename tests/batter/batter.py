"""Batters an almagest with random statements, and holds its answers against others'.

    python batter.py BINARY [--kind sql|arrays|slt|siege] [--mode process|cluster|flight] [--seed N]
                            [--queries N] [--only N] [--seconds N] [--verbose]

Prints each failure with what repeats it, and last `N passed, N failed`. The exit status is 1 after a
failure.
"""

import argparse
import os
import pathlib
import sys
import tempfile

import engine


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=pathlib.Path, help="the almagest to batter")
    parser.add_argument("--kind", choices=("sql", "arrays", "slt", "siege"), default="sql")
    parser.add_argument("--mode", choices=engine.MODES, default="process")
    parser.add_argument("--seed", type=int, default=1, help="other seeds, other tables and queries")
    parser.add_argument("--queries", type=int, default=100, help="how many [default: 100]")
    parser.add_argument("--first", type=int, default=0, help="the number of the first [default: 0]")
    parser.add_argument("--only", type=int, help="the query of this number alone")
    parser.add_argument("--seconds", type=int, default=20, help="siege: how long [default: 20]")
    parser.add_argument("--files", help="slt: only files whose path holds this text")
    parser.add_argument("--verbose", action="store_true", help="print each query")
    return parser.parse_args()


def main():
    given = arguments()
    binary = given.binary.resolve()
    numbers = [given.only] if given.only is not None else range(given.first, given.first + given.queries)
    with tempfile.TemporaryDirectory(prefix="batter-") as folder:
        root = pathlib.Path(folder)
        if given.kind == "slt":
            import slt_kind
            passed, failed = slt_kind.run(binary, given.mode, root, given.files, given.verbose)
        elif given.kind == "siege":
            import siege_kind
            count = siege_kind.run(binary, root, given.seed, given.seconds)
            passed, failed = count["same"], count["bad"]
        else:
            module = __import__(f"{given.kind}_kind")
            count = module.run(binary, given.mode, root, given.seed, numbers, given.verbose)
            asked = count["same"] + count["refused"] + count["bad"]
            print(f"{given.kind} in mode {given.mode}, seed {given.seed}: {asked} asked, {count['same']} equal, "
                  f"{count['refused']} refused, {count['bad']} wrong; {count['skipped']} not taken by the peer")
            passed, failed = count["same"] + count["refused"], count["bad"]
            if asked >= 100 and count["refused"] * 20 > asked:
                print("more than one in twenty is refused: that is a failure too")
                failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
