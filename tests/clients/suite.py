"""Runs the programs, some at a time, and says of each whether it did what it must.

Each is served at an address of its own; those that an operator has turned away are held in the tarpit or
denied, for their site alone.
"""

import argparse
import itertools
import sys
from concurrent import futures

import backups
import calls
import calendars
import case
import feeds
import git
import hooks
import images
import origins
import packages
import transfers
from stage import Stage

KINDS = (packages, git, images, backups, calendars, feeds, transfers, calls, hooks)
# The network of the seats of each way, and what an operator has said about it.
WAYS = {"served": (100, None), "held": (101, "tarpit"), "denied": (102, "deny")}
# Programs wait more than they work.
AT_ONCE = 6


def main():
    parser = argparse.ArgumentParser(prog="run", description=__doc__)
    parser.add_argument("only", nargs="*", help="words; runs the cases that have one of them in their names")
    parser.add_argument("--keep-log", metavar="FILE", help="where the gateway's access log is copied to")
    given = parser.parse_args()
    with Stage() as stage:
        found = list(plan(stage, given.only))
        if not found:
            raise SystemExit("no case has such a name")
        stage.open()
        origins.start(stage, sorted({one.site for one, _, _ in found}))
        for kind in KINDS:
            kind.prepare(stage)
        stage.serve()
        turn_away(stage, {seat.site for _, way, seat in found if way != "served"})
        wrong = run(stage, found)
        if given.keep_log:
            stage.keep(given.keep_log)
    print(f"{len(found) - wrong} passed, {wrong} failed")
    return 1 if wrong else 0


def plan(stage, only):
    """Each case with each of its ways, and its seat."""
    numbers = itertools.count()
    for one in case.CASES:
        if only and not any(word in f"{one.site} {one.name}" for word in only):
            continue
        for way in one.ways:
            seat = stage.seat(f"c{next(numbers)}.{one.site}.test", one.site, WAYS[way][0])
            yield one, way, seat


def turn_away(stage, sites):
    for way, (network, action) in WAYS.items():
        for site in sorted(sites) if action else ():
            stage.order("block", f"127.{network}.0.0/16", "--action", action, "--site", site)


def run(stage, found):
    """Runs all; prints a line for each as it ends, and answers how many failed."""
    failed = 0
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        running = {
            pool.submit(case.attempt, one, case.Place(seat, way, stage)): (one, way) for one, way, seat in found}
        for done in futures.as_completed(running):
            one, way = running[done]
            took, wrong = done.result()
            name = one.name if way == "served" else f"{one.name}, {way}"
            print(f"{'FAILED' if wrong else 'passed'} {took:6.1f} s  {name}" + (f": {wrong}" if wrong else ""), flush=True)
            failed += bool(wrong)
    return failed


if __name__ == "__main__":
    sys.exit(main())
