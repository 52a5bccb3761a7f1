"""Sends the tables through the gateway, one after the other; prints a line for each: what, how many cases, and
what was found. Exit code 1 where a single case has failed.

Each table names its kind, which is a module below `kinds/` with `async def run(table, scene)`.
"""

import argparse
import asyncio
import dataclasses
import importlib
import resource
import sys
import time

import gateway
import tables
from result import SHOWN, Result
from stage import Stage

HOST = "site.test"
# Of one table, whatever happens in it.
LONGEST_SECS = 300


@dataclasses.dataclass
class Scene:
    """Where a table is run."""

    stage: Stage
    smoke: bool
    # Whether nginx is to be shown beside.
    beside: bool


def main():
    parser = argparse.ArgumentParser(prog="run", description=__doc__)
    parser.add_argument("only", nargs="*", help="words; runs the tables that have one of them in their names")
    parser.add_argument("--smoke", action="store_true", help="some cases of each table, without nginx beside")
    parser.add_argument("--list", action="store_true", help="names the tables")
    given = parser.parse_args()
    found = [one for one in tables.tables() if not given.only or any(word in one.name for word in given.only)]
    if given.smoke:
        found = [one for one in found if one.data.get("smoke", 1)]
    if not found:
        raise SystemExit("no table has such a name")
    if given.list:
        print("\n".join(f"{one.name:<16} {one.what}" for one in found))
        return 0
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65536), most))
    with Stage() as stage:
        # One name is enough: `open` makes the loopback network and the certificates of it.
        stage.seat(HOST, "site")
        stage.open()
        with gateway.pages(stage):
            failed = sum(show(table, Scene(stage, given.smoke, not given.smoke)) for table in found)
    print(f"{len(found) - failed} tables passed, {failed} failed")
    return 1 if failed else 0


def show(table, scene):
    """Runs a table and prints its line; whether it failed."""
    began = time.monotonic()
    kind = importlib.import_module(f"kinds.{table.kind}")
    result = Result()
    try:
        result = asyncio.run(asyncio.wait_for(kind.run(table, scene), LONGEST_SECS))
    except (Exception, SystemExit) as broken:  # noqa: BLE001  # a table that breaks is one that fails
        result.fault(f"{type(broken).__name__}: {broken}")
        if not isinstance(broken, (OSError, SystemExit)):
            sys.excepthook(*sys.exc_info())
    took = time.monotonic() - began
    word = "FAILED" if result.failed else "passed"
    told = "; ".join([f"{result.failed} failed", *result.notes])
    beside = f" | nginx: {result.beside}" if result.beside else ""
    print(f"{word} {took:6.1f} s  {table.name:<12} {table.what}: {result.cases} cases; {told}{beside}", flush=True)
    for line in result.faults[:SHOWN]:
        print(f"    {line[:600]}", flush=True)
    return bool(result.failed)


if __name__ == "__main__":
    sys.exit(main())
