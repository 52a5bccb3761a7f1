"""Good requests, bent at random with a fixed seed, held against the same as those of `requests`."""

import random

import tables
from kinds.requests import run_cases

# What tends to be read in two ways.
SPICES = (
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b"\t", b" ", b"\x0b", b"\x0c", b"\x7f", b"\x85", b"\xa0", b"\xff", b":", b",",
    b";", b"\"", b"0", b"00", b"-", b"+", b"0x", b"_", b"%0d%0a", b"chunked", b"Content-Length: 3\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Host: other.test\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n", b"GET / HTTP/1.1\r\n", b"0\r\n\r\n", b"HTTP/1.1", b"HTTP/1.0", b"\r\n ", b"http://other.test")
# Bends of one request at most.
MOST = 4


async def run(table, scene):
    chance = random.Random(table.data["seed"])
    good = list(tables.cases(table, smoke=False))
    many = table.data["smoke" if scene.smoke else "many"]
    cases = [bent(chance, good, number) for number in range(many)]
    return await run_cases(cases, ["open"], scene)


def bent(chance, good, number):
    one = chance.choice(good)
    token = f"t{number:06x}z"
    data = one.sent.replace(one.token.encode(), token.encode())
    for _ in range(chance.randint(1, MOST)):
        data = chance.choice(BENDS)(chance, data, chance.choice(good).sent)
    return tables.Case(f"mutation {number} of {one.name}", [data], token, {})


def flipped(chance, data, _):
    at = chance.randrange(len(data) or 1)
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]


def spiced(chance, data, _):
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(SPICES) + data[at:]


def shortened(chance, data, _):
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at + chance.randint(1, 8) :]


def doubled(chance, data, _):
    first = chance.randrange(len(data) + 1)
    last = min(len(data), first + chance.randint(1, 40))
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[first:last] + data[at:]


def line_moved(chance, data, _):
    lines = data.split(b"\r\n")
    line = lines.pop(chance.randrange(len(lines)))
    lines.insert(chance.randrange(len(lines) + 1), line)
    return b"\r\n".join(lines)


def line_of_another(chance, data, other):
    lines = data.split(b"\r\n")
    lines.insert(chance.randrange(len(lines) + 1), chance.choice(other.split(b"\r\n")))
    return b"\r\n".join(lines)


def case_changed(chance, data, _):
    at = chance.randrange(len(data) + 1)
    return data[:at] + data[at : at + 12].swapcase() + data[at + 12 :]


BENDS = (flipped, spiced, shortened, doubled, line_moved, line_of_another, case_changed)
