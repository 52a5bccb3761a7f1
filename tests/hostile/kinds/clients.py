"""Who a client is: what strangers claim, what trusted proxies say, PROXY headers, and lists of who is not let in.

The origin tells back what it was told. Three lists of rules:

  case     fields of a request from a `stranger` or a `proxy`: `client` is who it must count as, "" for the peer
  proxy    the bytes before a request on a port that wants a PROXY header; `client`, or `refused`
  blocked  a target or fields, sent by a proxy: `denied` or not by the list of the table
"""

import asyncio
import ipaddress
import json
import random
import re

import gateway
import origin
import tables
from kinds.requests import Tally, exchanged
from person import Person
from result import Result
from wire import Answers, Broken, requests_in

AT_ONCE = 48
# How long an answer is waited for: where there must be one, and where there should be none.
LONGEST_SECS = 10
QUIET_SECS = 0.5
PROXY_PORT = 8081
SEATS = {"stranger": "127.40.0.7", "proxy": "127.50.0.7"}
MORE = """
[client_address]
trusted_proxies = ["127.50.0.0/16", "10.0.0.0/8"]
[[listener]]
address = "127.0.0.1:8081"
proxy_protocol = true
""" + gateway.RAW + """
[[pipeline.filter]]
name = "listed"
blocklist = { files = ["deny.txt"] }
when = { not_paths = ["/robots.txt", "/free/*"] }
"""
# What only the gateway may say, however an origin folds its name.
CLAIMS = re.compile(
    r"forwarded|x-forwarded.*|x-real-ip|(x-)?client-ip|true-client-ip|cf-connecting-ipv?6?|x-cluster-client-ip|fastly-client-ip"
    r"|client-cert.*|proxy|x-gateway-request-id|x-original-.*|x-rewrite-url|x-request-id|x-url-scheme|front-end-https")
OURS = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-request-id"}
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class Telling(origin.Connection):
    def take(self, request):
        self.origin.note(request, self)
        told = json.dumps([[part.decode("latin-1") for part in pair] for pair in request.fields]).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\nX-Echo-Id: x\r\nContent-Length: %d\r\n\r\n%s" % (len(told), told))
        if request.one(b"connection") == b"close":
            self.transport.close()


async def run(table, scene):
    jobs = [(said, one) for one in tables.cases(table, scene.smoke)]
    jobs += [(announced, one) for one in tables.cases(table, scene.smoke, "proxy")]
    jobs += [(announced, one) for one in bent(table, scene.smoke)]
    jobs += [(listed, one) for one in tables.cases(table, scene.smoke, "blocked")]
    result, tally = Result(cases=len(jobs)), Tally()
    folder = scene.stage.folder / "thornwall"
    folder.mkdir(exist_ok=True)
    (folder / "deny.txt").write_text("\n".join(table.data["denied"]) + "\n")
    with gateway.thornwall(scene.stage, MORE) as server, Person(scene.stage) as person:
        async with origin.Origin(gateway.ORIGIN, Telling) as behind:
            waiting = iter(jobs)

            async def lane():
                for judge, case in waiting:
                    try:
                        await judge(tally, case)
                    except (OSError, Broken) as broken:
                        tally.fault(case, repr(broken))

            await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
        result.server(server)
    for fault in tally.faults + behind.faults:
        result.fault(fault)
    result.note(tally)
    result.person(person)
    return result


async def asked(data, seat, port=gateway.PORT, wait=LONGEST_SECS):
    """The status, and the fields that the origin saw; `None` for either that is not there."""
    got = await exchanged(data, wait, port, SEATS[seat])
    answers = [one for one in Answers().feed(got) if one.status >= 200]
    if not answers:
        return None, None
    told = json.loads(answers[0].body) if answers[0].all(b"x-echo-id") else None
    return answers[0].status, told


def request(case, target=None, fields=""):
    target = target or f"/{case.token}"
    return f"GET {target} HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n{fields}\r\n".encode("latin-1")


async def said(tally, case):
    seat = case.rule["from"]
    _, told = await asked(request(case, fields=case.sent.decode("latin-1")), seat)
    if told is None:
        return tally.fault(case, "was not served")
    expected = case.rule["client"] or SEATS[seat]
    real = [value for name, value in told if name.lower() == "x-real-ip"]
    if real != [expected]:
        tally.fault(case, f"counts as {real}, is {expected}")
    if seat == "stranger":
        judge_stranger(tally, case, told)
    tally.seen[f"by a {seat}"] += 1


def judge_stranger(tally, case, told):
    """Nothing that it says about itself goes on, under no name that an origin could read as one of ours."""
    seen = set()
    for name, value in told:
        if not CLAIMS.fullmatch(re.sub("[^a-z0-9]", "-", name.lower())):
            continue
        if name.lower() not in OURS or name.lower() in seen or "6.6.6.6" in value:
            tally.fault(case, f"a stranger's word went on: {name}: {value}")
        seen.add(name.lower())


async def announced(tally, case):
    """A PROXY header, read as its text has it and not at all otherwise; a stranger's is no word at all."""
    seat = case.rule.get("from", "proxy")
    verdict = (None, case.rule["refused"]) if "refused" in case.rule else (case.rule.get("client"), False)
    if "client" not in case.rule and "refused" not in case.rule:
        verdict = read_header(case.sent + request(case))
    client, refused = verdict
    status, told = await asked(case.sent + request(case), seat, PROXY_PORT, QUIET_SECS if refused else LONGEST_SECS)
    if refused and status is not None and told is not None:
        tally.fault(case, "was served, though its header is none")
    elif not refused and told is None:
        tally.fault(case, f"was not served ({status}), though its header is one")
    elif not refused:
        real = [value for name, value in told if name.lower() == "x-real-ip"]
        if real != [client or SEATS[seat]]:
            tally.fault(case, f"counts as {real}, is {client}")
    tally.seen["PROXY refused" if refused else "PROXY taken"] += 1


async def listed(tally, case):
    data = request(case, case.rule.get("target"), case.sent.decode("latin-1"))
    if "targets" in case.rule:
        data = request(case, case.sent.decode("latin-1"), f"X-Forwarded-For: {case.rule['as']}\r\n")
    status, told = await asked(data, "proxy")
    denied = case.rule["denied"]
    if denied and told is not None:
        tally.fault(case, f"was served ({status}), though it is on the list")
    if not denied and told is None:
        tally.fault(case, f"was not served ({status}), though it is on no list")
    tally.seen["listed" if denied else "not listed"] += 1


def bent(table, smoke):
    """Good PROXY headers, bent with a fixed seed; `read_header` says what is to become of them."""
    chance = random.Random(table.data["seed"])
    good = [one for one in tables.cases(table, False, "proxy") if "refused" not in one.rule]
    for number in range(table.data["bent"] // (10 if smoke else 1)):
        one = chance.choice(good)
        data = bytearray(one.sent)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(3):
                case 0:
                    data[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    data[at:at] = chance.choice((b"0", b" ", b"\r", b"\n", b":", b".", b"\0", b"\xff", b"1"))
                case _:
                    del data[at : at + chance.randint(1, 4)]
        yield tables.Case(f"PROXY {number} of {one.name}", [bytes(data)], f"t{number:06x}z", {})


def read_header(data):
    """The client that a PROXY header names, "" for its proxy; and whether no header with a request behind it is here."""
    try:
        client, rest = v2(data) if data[:1] != b"P" else v1(data)
    except (ValueError, IndexError):
        return "", True
    return client, not requests_in(rest)[0]


def v1(data):
    line, end, rest = data.partition(b"\r\n")
    if not end or len(line) > 105:
        raise ValueError
    if re.fullmatch(rb"PROXY UNKNOWN( .*)?", line, re.DOTALL):
        return "", rest
    word = rb"([0-9A-Fa-f.:]+)"
    found = re.fullmatch(rb"PROXY TCP([46]) " + word + b" " + word + rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})", line)
    if not found or max(int(found[4]), int(found[5])) > 65535:
        raise ValueError
    kind = ipaddress.IPv4Address if found[1] == b"4" else ipaddress.IPv6Address
    source, _ = kind(found[2].decode()), kind(found[3].decode())
    return plain(source), rest


def v2(data):
    if data[:12] != SIGNATURE or data[12] not in (0x20, 0x21):
        raise ValueError
    needs = {0: 0, 0x11: 12, 0x12: 12, 0x21: 36, 0x22: 36, 0x31: 216, 0x32: 216}
    family = data[13] if data[12] == 0x21 else 0
    length = int.from_bytes(data[14:16], "big")
    if family not in needs or len(data) < 16 + length or length < needs[family] or length > 216 + 2048:
        raise ValueError
    rest = data[16 + length :]
    if family in (0x11, 0x12):
        return plain(ipaddress.IPv4Address(data[16:20])), rest
    return (plain(ipaddress.IPv6Address(data[16:32])) if family in (0x21, 0x22) else ""), rest


def plain(address):
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
