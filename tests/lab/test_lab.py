"""Checks the lab's own instruments: `python3 tests/lab/test_lab.py`. Needs no client and no package."""

import asyncio
import pathlib
import random
import sys
import tomllib
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import gateway  # noqa: E402
import recording  # noqa: E402
from forwarder import TARPIT_SECS, Exchange, Forwarder  # noqa: E402
from http1 import Body, End, Head, Reader  # noqa: E402

GET = b"GET /a HTTP/1.1\r\nHost: s1.lab.test\r\nX-Twice: 1\r\nx-twice: 2\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n"


def outline(events):
    """Heads by their first line, ends as a dot; bodies say nothing."""
    return [event.first if isinstance(event, Head) else "." for event in events if not isinstance(event, Body)]


def passed_on(events):
    return b"".join(event.raw for event in events if not isinstance(event, End))


class Reading(unittest.TestCase):
    def check(self, stream, expected, asked=None):
        for size in (1, 7, len(stream)):
            reader = Reader(None if asked is None else list(asked))
            events = [event for at in range(0, len(stream), size) for event in reader.feed(stream[at:at + size])]
            self.assertEqual(outline(events), expected, f"in pieces of {size}")
            self.assertEqual(passed_on(events), stream, f"in pieces of {size}")

    def test_requests(self):
        self.check(GET + POST + CHUNKED + GET, [
            "GET /a HTTP/1.1", ".", "POST /b HTTP/1.1", ".", "POST /c HTTP/1.1", ".", "GET /a HTTP/1.1", "."])

    def test_fields_keep_order_and_spelling(self):
        head = Reader().feed(GET)[0]
        self.assertEqual(head.headers, [["Host", "s1.lab.test"], ["X-Twice", "1"], ["x-twice", "2"]])

    def test_answers(self):
        ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        self.check(ok + ok + b"hi", ["HTTP/1.1 200 OK", ".", "HTTP/1.1 200 OK", "."], ["HEAD", "GET"])
        self.check(b"HTTP/1.1 100 Continue\r\n\r\n" + ok + b"hi", ["HTTP/1.1 100 Continue", "HTTP/1.1 200 OK", "."], ["POST"])
        unchanged = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
        self.check(unchanged + ok + b"hi", ["HTTP/1.1 304 Not Modified", ".", "HTTP/1.1 200 OK", "."], ["GET", "GET"])
        self.check(b"HTTP/1.0 200 OK\r\n\r\nuntil the end", ["HTTP/1.0 200 OK"], ["GET"])

    def test_what_is_not_http_passes(self):
        self.check(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", [])


class Judging(unittest.TestCase):
    def check(self, expected, **facts):
        self.assertEqual(Exchange(0.0, Head("", [], b""), **facts).outcome(100.0), expected)

    def test_outcomes(self):
        self.check("served", status=200, done=0.1)
        self.check("served", status=404, done=0.1)
        self.check("throttled", status=429, done=0.1)
        self.check("denied", status=403, done=0.1)
        self.check("tarpitted", status=200, done=TARPIT_SECS)
        self.check("tarpitted", status=200, dropped=TARPIT_SECS)
        self.check("tarpitted")
        self.check("dropped", status=200, dropped=TARPIT_SECS - 0.1)
        self.check("failed", status=502, done=0.1)
        self.check("failed", cut=True, dropped=0.1)


class Forwarding(unittest.TestCase):
    def through(self, announce, sent):
        """What the target gets of `sent`, and the exchanges noted; the target answers 429 and closes."""
        return asyncio.run(self.forward(announce, sent))

    async def forward(self, announce, sent):
        got = asyncio.get_running_loop().create_future()

        async def target(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            got.set_result((writer.get_extra_info("peername")[0], head))
            writer.close()

        server = await asyncio.start_server(target, "127.0.0.1", 0)
        line = Forwarder(server.sockets[0].getsockname(), "127.77.1.7", tls=None)
        line.announce_tls = announce
        await line.open("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*line.server.sockets[0].getsockname())
        writer.write(sent)
        answer = await reader.read()
        writer.close()
        await line.close()
        server.close()
        return await got, answer, line.exchanges

    def test_bytes_and_source_address(self):
        (peer, head), answer, exchanges = self.through(False, GET)
        self.assertEqual((peer, head), ("127.77.1.7", GET))
        self.assertIn(b"429", answer)
        self.assertEqual([exchange.status for exchange in exchanges], [429])
        self.assertIsNotNone(exchanges[0].done)

    def test_tls_is_announced_but_not_recorded(self):
        (_, head), _, exchanges = self.through(True, GET)
        self.assertEqual(head.split(b"\r\n")[1], b"X-Forwarded-Proto: https")
        self.assertEqual(exchanges[0].head.raw, GET)


class Recording(unittest.TestCase):
    def test_masks(self):
        self.assertEqual(recording.masked("https://s12.lab.test/a"), "https://site.example/a")
        self.assertEqual(recording.masked("s12.lab.test:443"), "site.example")

    def test_sample_keeps_every_kind(self):
        def exchange(at, method):
            return Exchange(at, Head(f"{method} / HTTP/1.1", [], b""))
        asked = [exchange(n, "GET") for n in range(500)] + [exchange(500, "POST")]
        kept = recording.sample(asked, random.Random(1))
        self.assertEqual(len(kept), recording.MOST_PER_RUN)
        self.assertEqual([one.at for one in kept], sorted(one.at for one in kept))
        self.assertEqual(kept[-1].head.first, "POST / HTTP/1.1")
        self.assertEqual([one.at for one in kept[:20]], list(range(20)))


class Configuring(unittest.TestCase):
    def test_what_is_written_reads_back(self):
        config = {"server": {"threads": 0}, "pipeline": [{"name": 'a "b" \\', "on": True, "ladder": {"deny": 0.95}, "filter": [{"when": {"paths": ["/*"]}}]}]}
        self.assertEqual(tomllib.loads(gateway.toml(config)), config)

    def test_pipelines_stay_as_shipped(self):
        shipped = {"site": [{"name": "a", "hosts": ["a.example"], "pipeline": "strict"}], "pipeline": [{"name": "strict"}], "certificate": [{}]}
        lab = gateway.adapted(dict(shipped), "127.0.0.1:9011", ["127.77.0.0/16"])
        self.assertEqual(lab["pipeline"], shipped["pipeline"])
        self.assertEqual(lab["site"], [{"name": "lab", "hosts": ["*"], "upstream": "lab", "pipeline": "strict"}])
        self.assertNotIn("certificate", lab)


if __name__ == "__main__":
    unittest.main()
