"""Calls that stay open: gRPC by its C core, and WebSockets by a library and as browsers open them."""

from case import case, expect, refused

CALLS = 100
GRPC = """
import sys
import grpc
host, many = sys.argv[1], int(sys.argv[2])
roots = open(sys.argv[3], "rb").read()
channel = grpc.secure_channel(f"{host}:443", grpc.ssl_channel_credentials(roots))
count = channel.unary_unary("/test.Echo/Count")
repeat = channel.unary_stream("/test.Echo/Repeat")
for number in range(many):
    said = str(number).encode()
    assert count(said, timeout=20, metadata=[("who", sys.argv[4])]) == said
assert [one for one in repeat(b"x", timeout=20)] == [b"x" + str(number).encode() for number in range(20)]
"""
GRPC_REFUSED = """
import sys
import grpc
roots = open(sys.argv[2], "rb").read()
channel = grpc.secure_channel(f"{sys.argv[1]}:443", grpc.ssl_channel_credentials(roots))
try:
    channel.unary_unary("/test.Echo/Count")(b"x", timeout=10, metadata=[("who", sys.argv[3])])
except grpc.RpcError as error:
    # A held call would end by its own deadline, and a broken connection says nothing.
    if error.code() in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE):
        sys.exit(7)
    sys.exit(f"{error.code()} {error.details()}")
"""
SOCKETS = """
import asyncio
import sys
from websockets.asyncio.client import connect
url, times, agent = sys.argv[1], int(sys.argv[2]), sys.argv[3]
FIELDS = {"Origin": sys.argv[4], "Accept-Language": "en-US,en;q=0.9", "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cache-Control": "no-cache", "Pragma": "no-cache"}
async def main():
    for number in range(times):
        more = {"user_agent_header": agent, "additional_headers": FIELDS} if agent else {}
        async with connect(url, open_timeout=20, **more) as socket:
            for message in ("one", "two", "x" * 70000):
                await socket.send(message)
                assert await asyncio.wait_for(socket.recv(), 20) == message
asyncio.run(main())
"""
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/153.0.0.0 Safari/537.36"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15"


def prepare(stage):
    pass


@case("calls", f"gRPC: {CALLS} calls and a stream")
def grpc(at):
    at.python(GRPC, at.host, CALLS, at.env["SSL_CERT_FILE"], at.name)
    expect(len(list((at.origin / at.name).iterdir())) == CALLS, "calls are missing")


@refused("calls", "gRPC: a status, and no call")
def grpc_refused(at):
    with at.untouched(at.name):
        at.fails_with(7, GRPC_REFUSED, at.host, at.env["SSL_CERT_FILE"], at.name)


@case("sockets", "WebSockets of Chrome: 70 times opened anew")
def chrome(at):
    at.python(SOCKETS, f"wss://{at.host}/live", 70, CHROME, f"https://{at.host}")


@case("sockets", "WebSockets of Safari: 70 times opened anew")
def safari(at):
    at.python(SOCKETS, f"wss://{at.host}/live", 70, SAFARI, f"https://{at.host}")


@case("sockets", "WebSockets of a library below /api/: 70 times opened anew")
def library(at):
    at.python(SOCKETS, f"wss://{at.host}/api/live", 70, "", "")


@refused("sockets", "WebSockets: no handshake")
def sockets_refused(at):
    with at.untouched(at.name):
        at.python_fails(SOCKETS, f"wss://{at.host}/{at.name}", 1, "", "")
        at.python_fails(SOCKETS, f"wss://{at.host}/{at.name}", 1, CHROME, f"https://{at.host}")
