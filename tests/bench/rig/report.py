"""What the benchmark says: progress while it runs, and targets met or missed."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A promise, what was measured, and whether it is kept."""

    wanted: str
    measured: str
    ok: bool

    def __str__(self):
        return f"target: {self.wanted}; measured {self.measured}; {'ok' if self.ok else 'missed'}"


def progress(line):
    """Tells a person who waits; the report alone goes to standard output."""
    if sys.stderr.isatty():
        # Each line takes the place of the one before.
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
    else:
        print(line, file=sys.stderr, flush=True)


def progress_over():
    """Leaves a clean line for what is said next."""
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
