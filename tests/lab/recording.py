"""Turns what the forwarder saw into the recording: masked, sampled, one JSON line per request."""

import gzip
import json
import os
import random
import re

MOST_PER_RUN = 60


def lines(finished, seed):
    """The records of all runs, under shuffled names that tell nothing of the order of runs."""
    names = [f"r{number:03}" for number in range(len(finished))]
    random.Random(f"names {seed}").shuffle(names)
    records = []
    for (run, exchanges), name in zip(finished, names):
        kept = sample([exchange for exchange in exchanges if asks(exchange.head)], random.Random(f"{seed} {name}"))
        start = kept[0].at if kept else 0
        records += [record(run, name, exchange, start) for exchange in kept]
    records.sort(key=lambda record: (record["run"], record["t"]))
    return records


def asks(head):
    return len(head.first.split(" ")) == 3


def sample(exchanges, rng):
    """At most `MOST_PER_RUN`, in order: the visit's start whole, and of the rest every kind of request."""
    exchanges = sorted(exchanges, key=lambda exchange: exchange.at)
    first, rest = exchanges[:MOST_PER_RUN // 3], exchanges[MOST_PER_RUN // 3:]
    groups = {}
    for exchange in rng.sample(rest, len(rest)):
        groups.setdefault(kind(exchange.head), []).append(exchange)
    kept = list(first)
    queues = list(groups.values())
    while queues and len(kept) < MOST_PER_RUN:
        for queue in queues:
            if len(kept) < MOST_PER_RUN:
                kept.append(queue.pop())
        queues = [queue for queue in queues if queue]
    return sorted(kept, key=lambda exchange: exchange.at)


def kind(head):
    """Requests of one kind differ in nothing but their address: the same method, fields and purpose."""
    return (head.first.split(" ")[0], head.get("accept"), head.get("sec-fetch-dest"), tuple(name for name, _ in head.headers))


def record(run, name, exchange, start):
    method, path, version = exchange.head.first.split(" ")
    return {
        "run": name,
        "client": run.client,
        "family": run.family,
        "label": run.label,
        "t": round(exchange.at - start, 3),
        "method": method,
        "path": masked(path),
        "version": version,
        "secure": run.secure,
        "headers": [[field, masked(value)] for field, value in exchange.head.headers],
    }


LAB_HOST = re.compile(r"\b[a-z0-9]+\.lab\.test(:\d+)?")
# Text browsers name the kernel that they run on: an ordinary one stands in for the machine's own.
ORDINARY_KERNEL = "6.1.0-41-amd64"


def masked(text):
    """The lab's own names say which run it was, and are no fact about the client."""
    return LAB_HOST.sub("site.example", text).replace(os.uname().release, ORDINARY_KERNEL)


def write(path, records):
    text = "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)
    with open(path, "wb") as file, gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=9, mtime=0) as packed:
        packed.write(text.encode())
