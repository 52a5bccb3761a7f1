"""HTTP/2 case by case: tables/h2.toml against the gateway, and against nginx beside it."""

import asyncio
import collections
import struct
import time
from concurrent import futures

import compression
import gateway
import origin
from frames import (
    ACK, DATA, END_STREAM, FLAGS, GOAWAY, HEADERS, KINDS, PADDED, PING, PREFACE, RST_STREAM, SETTINGS, Client, Closed, Late,
    code_name, frame, pseudo, request)
from result import Result

# Cases wait more than they work.
AT_ONCE = 24
# Longest wait for what has to come, and for what must not.
PATIENCE, QUIET = 6.0, 0.4
# The next request of a case that must leave the connection as it is: no case opens this stream.
LATER = 2001
TLS = 8443
NGINX = """
    access_log off;
    upstream raw { server 127.0.0.1:9100 max_fails=0; keepalive 32; }
    server {
        listen 127.0.0.1:8443 ssl http2 backlog=4096;
        ssl_certificate ../chain.pem;
        ssl_certificate_key ../key.pem;
        location / {
            proxy_pass http://raw;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Request-ID $request_id;
        }
    }
"""


class Slow(origin.Connection):
    """Answers after a while where it is asked to, so that a stream stays half closed."""

    def take(self, request):
        if request.target != b"/slow":
            super().take(request)
            return
        self.origin.note(request, self)
        asyncio.get_running_loop().call_later(1, self.transport.write, origin.echo(request))


async def run(table, scene):
    result = Result()
    rows = [(section, *row) for section, rows in table.data["rows"].items() for row in rows]
    async with origin.Origin(gateway.ORIGIN, Slow) as behind:
        with gateway.thornwall(scene.stage, limits="") as server:
            passed, tried, wrong, accepted = await asyncio.to_thread(play, rows, TLS)
            result.require(server.alive, "the gateway has ended")
        for line in wrong + behind.faults:
            result.fault(line)
        result.note(f"{accepted} known and harmless")
        if scene.beside:
            with gateway.nginx(scene.stage, NGINX, (TLS,)):
                theirs, *_ = await asyncio.to_thread(play, rows, TLS)
            result.beside = f"{theirs.total()} of {tried.total()}"
            result.note(", ".join(f"{section} {passed[section]}/{tried[section]} ({theirs[section]})" for section in tried))
    result.cases = tried.total()
    return result


def unescaped(text):
    return text.encode().decode("unicode_escape").encode("latin-1")


class Script:
    """The steps of one case on one connection; keeps all that came back."""

    def __init__(self, client, host):
        self.client, self.host = client, host
        self.seen, self.over = [], ""
        self.next_stream = 1

    def play(self, steps):
        for step in steps:
            word, _, rest = step.partition(" ")
            if word == "repeat":
                count, _, step = rest.partition(" ")
                for _ in range(int(count)):
                    self.client.send(self.frame(step))
            elif word == "await":
                self.await_answer(int(rest[1:], 0))
            elif word == "pause":
                time.sleep(float(rest))
            elif word == "preface":
                self.client.send(PREFACE)
            elif word == "raw":
                self.client.send(b"".join(self.part(part) for part in rest.split(" ")))
            elif word != "bare":
                self.client.send(self.frame(step))

    def frame(self, step):
        """The bytes of one frame."""
        word, *parts = step.split(" ")
        kind = KINDS.index(word) if word in KINDS else int(word.removeprefix("frame:"), 0)
        stream = flags = 0
        length = pad = None
        fields, payload = [], b""
        for part in parts:
            if part == "#+":
                stream, self.next_stream = self.next_stream, self.next_stream + 2
            elif part[0] == "#":
                stream = int(part[1:], 0)
            elif part[0] == "+":
                flags |= self.flag(part[1:])
            elif part.startswith("length:"):
                length = int(part[7:])
            elif part.startswith(("pad:", "padlen:")):
                pad = part.split(":")
            elif part[0] in "@-" or (":" not in part[1:].partition("=")[0] and "=" in part):
                self.field(fields, part)
            else:
                payload += flushed(fields) + self.part(part)
        payload += flushed(fields)
        if pad:
            payload = bytes([int(pad[1])]) + payload + (bytes(int(pad[1])) if pad[0] == "pad" else b"")
            flags |= PADDED
        return frame(kind, flags, stream, payload, length)

    @staticmethod
    def flag(word):
        short = {"ES": "END_STREAM", "EH": "END_HEADERS"}.get(word, word)
        return FLAGS[short] if short in FLAGS else int(word, 0)

    def field(self, fields, part):
        """Adds fields; what a good request has already is replaced."""
        presets = {"@get": b"GET", "@post": b"POST", "@head": b"HEAD"}
        if part in presets:
            fields += [(*pair, True) for pair in pseudo(self.host, method=presets[part])]
            return
        if part[0] == "-" and "=" not in part:
            fields[:] = [one for one in fields if one[0] != part[1:].encode()]
            return
        colon = ":" * (part[0] == ":")
        name, _, value = part[len(colon):].partition("=")
        name = unescaped(colon + name)
        value = unescaped(value.replace("%3d", "="))
        for place, one in enumerate(fields):
            if one[0] == name and one[2]:
                fields[place] = (name, value, False)
                return
        fields.append((name, value, False))

    def part(self, part):
        """A part of a payload."""
        how, _, rest = part.partition(":")
        plain = {
            "idx": lambda: compression.indexed(int(rest)),
            "size": lambda: compression.sized(int(rest)),
            "big": lambda: compression.kept(b"x-big", b"x" * int(rest)),
            "u8": lambda: struct.pack(">B", int(rest, 0)),
            "u16": lambda: struct.pack(">H", int(rest, 0)),
            "u32": lambda: struct.pack(">I", int(rest, 0)),
            "hex": lambda: bytes.fromhex(rest),
            "text": lambda: unescaped(rest),
            "fill": lambda: bytes(int(rest)),
            "dep": lambda: struct.pack(">IB", *(int(word, 0) for word in rest.split(","))),
            "code": lambda: coded(*rest.split(":")),
        }
        if how in plain:
            return plain[how]()
        name, _, value = (unescaped(word) for word in rest.partition("="))
        if how == "set":
            return struct.pack(">HI", int(name, 0), int(value, 0))
        if how == "lit":
            return compression.literal(int(name), value)
        form, bits, short = {"kept": (0x40, 6, False), "never": (0x10, 4, False), "huff": (0, 4, True)}[how]
        return compression.literal(name, value, form, bits, short)

    def read(self, timeout):
        """One more frame; None where none comes in time, or ever."""
        try:
            kind, flags, stream, payload = self.client.read(timeout)
            if kind == SETTINGS and not flags & ACK:
                self.client.send(frame(SETTINGS, ACK))
        except Late:
            return None
        except Closed:
            self.over = "closed"
            return None
        status = 0
        if kind == HEADERS:
            status = int(dict(self.client.fields(flags, payload)).get(b":status", 0))
        self.seen.append((kind, flags, stream, payload, status))
        return self.seen[-1]

    def await_answer(self, stream):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not self.over:
            one = self.read(until - time.monotonic())
            if one and one[2] == stream and (one[0] == RST_STREAM or one[0] in (DATA, HEADERS) and one[1] & END_STREAM):
                return


def flushed(fields):
    out = compression.block((name, value) for name, value, _ in fields)
    fields.clear()
    return out


def coded(text, padding):
    """A field whose value is in Huffman's code; `END` behind the text is the symbol that must not be there."""
    symbols = [*text.removesuffix("END").encode(), *([compression.END] if text.endswith("END") else [])]
    value = compression.huffman(symbols, padding or None)
    return b"\0" + compression.string(b"x-a") + compression.integer(len(value), 7, 128) + value


class Outcome:
    """Whether what came back is what was wanted: an empty text, or what came instead."""

    def __init__(self, script, wanted):
        self.script = script
        self.how, _, rest = wanted.partition(" ")
        self.words = rest.split(" ")

    def judge(self):
        if self.how in ("alive", "any"):
            return self.alive()
        until = time.monotonic() + (QUIET if self.how == "data" else PATIENCE)
        while True:
            if self.met():
                return self.ended_in_time() if self.how == "ends" else ""
            if self.script.over or time.monotonic() > until:
                return "" if self.met(last=True) else self.told()
            self.script.read(min(0.5, max(until - time.monotonic(), 0.01)))

    def met(self, last=False):
        script, codes = self.script, set(self.words[0].split("|"))
        away = {code_name(struct.unpack(">I", one[3][4:8])[0]) for one in script.seen if one[0] == GOAWAY}
        resets = {code_name(struct.unpack(">I", one[3])[0]) for one in script.seen if one[0] == RST_STREAM}
        status = {one[4]: one[2] for one in script.seen if one[0] == HEADERS}
        if self.how in ("connection", "ends"):
            return bool(away & codes) or bool(script.over)
        if self.how == "stream":
            return bool((away | resets) & codes) or bool(script.over)
        if self.how == "malformed":
            return bool(away | resets) or bool(script.over) or any(400 <= one < 500 for one in status)
        if self.how == "answer":
            stream = int(self.words[1][1:]) if len(self.words) > 1 else None
            on = status.get(int(self.words[0]))
            return on is not None and stream in (None, on)
        if self.how == "ping":
            answered = [one[3] for one in script.seen if one[0] == PING and one[1] & ACK]
            return bool(answered) and b"abcdefgh" not in answered
        if self.how == "acks":
            return sum(one[0] == SETTINGS and one[1] & ACK for one in script.seen) >= int(self.words[0])
        if self.how == "settings":
            return bool(script.seen) and script.seen[0][0] == SETTINGS
        return last and sum(len(one[3]) for one in script.seen if one[0] == DATA) == int(self.words[0])

    def alive(self):
        """The connection answers another request; or, of `any`, has ended."""
        script = self.script
        try:
            script.client.send(request(LATER, pseudo(script.host)))
        except Closed:
            script.over = "closed"
        script.await_answer(LATER)
        answered = any(one[0] == HEADERS and one[2] == LATER and one[4] == 200 for one in script.seen)
        return "" if answered or (self.how == "any" and script.over) else self.told()

    def ended_in_time(self):
        """GOAWAY is not enough: the connection has to end (section 5.4.1)."""
        until = time.monotonic() + PATIENCE
        while not self.script.over and time.monotonic() < until:
            self.script.read(0.5)
        return "" if self.script.over else "the connection stays"

    def told(self):
        """What came back, in short."""
        def one(kind, flags, stream, payload, status):
            name = KINDS[kind] if kind < len(KINDS) else hex(kind)
            if kind == GOAWAY:
                return f"GOAWAY {code_name(struct.unpack('>I', payload[4:8])[0])}"
            if kind == RST_STREAM:
                return f"RST_STREAM #{stream} {code_name(struct.unpack('>I', payload)[0])}"
            return f"{name} #{stream} {status}" if status else f"{name}{'+ACK' if flags & ACK else ''} {len(payload)}"
        seen = [one(*frame) for frame in self.script.seen if frame[0] != SETTINGS]
        return ", ".join([*seen[:6], self.script.over or "no more in time"])


def attempt(steps, wanted, port, host):
    """Plays one case; what is wrong with its outcome, or nothing."""
    try:
        client = Client(port, host.decode(), begin=steps[0] != "bare")
    except (OSError, Closed) as failure:
        return f"no connection: {failure}"
    with client:
        script = Script(client, host)
        try:
            until = time.monotonic() + PATIENCE
            # What a client says is judged once its settings hold.
            while steps[0] != "bare" and time.monotonic() < until and not script.over and not any(
                    one[0] == SETTINGS and one[1] & ACK for one in script.seen):
                script.read(0.5)
            script.play(steps)
        except Closed:
            # What it said before it closed is still to be read.
            pass
        except Late:
            return "the server takes nothing in"
        return Outcome(script, wanted).judge()


def play(rows, port, host=b"t.example"):
    """All cases: how many passed of each section, and lines about the others."""
    passed, tried, wrong, accepted = collections.Counter(), collections.Counter(), [], 0
    with futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = pool.map(lambda row: attempt(row[2], row[3], port, host), rows)
        for (section, name, _, wanted, *known), told in zip(rows, results, strict=True):
            tried[section] += 1
            passed[section] += not told
            accepted += bool(told and known)
            if told and not known:
                number = f"RFC 7541 {section[6:]}" if section.startswith("hpack") else f"RFC 9113 {section}"
                wrong.append(f"{number}: {name}: wanted {wanted}, came {told}")
    return passed, tried, wrong, accepted
