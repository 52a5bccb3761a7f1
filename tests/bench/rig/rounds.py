"""Rounds in which everything that is compared takes part, so that the machine's moods hit all."""

import random


def interleaved(kinds, rounds):
    """Each kind once per round, as (round from 1 on, kind), every round in an order of its own."""
    for turn in range(rounds):
        order = list(kinds)
        # Seeded, so that two runs of the benchmark differ in nothing but the machine's mood.
        random.Random(turn).shuffle(order)
        for kind in order:
            yield turn + 1, kind
