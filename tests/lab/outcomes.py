"""How each client fared: what it asked, and what it got."""

import collections

COLUMNS = ["requests", "served", "throttled", "denied", "tarpitted", "failed", "dropped"]
HARM = ("throttled", "denied", "tarpitted", "failed")


def table(finished):
    """Prints a line per client; answers whether a person or a feed reader was harmed."""
    counts = collections.defaultdict(collections.Counter)
    for run, exchanges, ended, _ in finished:
        line = counts[(run.label, run.family, run.client)]
        for exchange in exchanges:
            line["requests"] += 1
            line[exchange.outcome(ended)] += 1
    print(f"{'label':9}{'family':21}{'client':36}" + "".join(f"{column:>11}" for column in COLUMNS))
    for (label, family, client), line in sorted(counts.items()):
        print(f"{label:9}{family:21}{client:36}" + "".join(f"{line[column] or '-':>11}" for column in COLUMNS))
    harmed = [client for (label, _, client), line in sorted(counts.items()) if label != "scraper" and any(line[what] for what in HARM)]
    if harmed:
        print(f"harmed: {', '.join(harmed)}")
    return bool(harmed)
