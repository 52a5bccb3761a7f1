"""Who visits the site, and to what end: the runs of the lab.

A run's label is what its client was told to do, never what its requests look like: `person` reads
pages in a browser, `feed` reloads feeds in a feed reader, `scraper` fetches page after page.
"""

import dataclasses
import pathlib
import random
import typing

import clients


@dataclasses.dataclass
class Run:
    """One client's visit. What the conductor fills in: `base`, `name`, `shots`."""

    client: str
    family: str
    label: str
    drive: typing.Callable
    heavy: bool
    secure: bool
    rng: random.Random
    paths: list
    base: str = ""
    name: str = ""
    shots: pathlib.Path | None = None
    taken: int = 0


def runs(pages, seed):
    """All runs, in random order; each kind over plain HTTP and over HTTPS."""
    planned = []
    for kind in clients.KINDS:
        for secure in (False, True):
            for repeat in range(kind.repeats):
                rng = random.Random(f"{seed} {kind.client} {secure} {repeat}")
                planned.append(Run(
                    client=kind.client, family=kind.family, label=kind.label, drive=kind.drive, heavy=kind.heavy,
                    secure=secure, rng=rng, paths=subset(pages, rng),
                ))
    random.Random(seed).shuffle(planned)
    return planned


def subset(pages, rng):
    """Every client is given pages of the same set, in its own order, the busy page often among the first."""
    paths = rng.sample(pages, len(pages))
    if rng.random() < 0.6:
        paths.remove("/busy.html")
        paths.insert(rng.randrange(3), "/busy.html")
    return paths
