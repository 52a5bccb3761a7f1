"""What a client of gRPC sees that the gateway refuses: a status of gRPC, and no lost call."""

import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import grpc
import trustme

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/thornwall"
PATIENCE = 20

PIPELINE = """
[[site]]
name = "{rung}"
hosts = ["{rung}.example"]
upstream = "o"
pipeline = "{rung}"
[[pipeline]]
name = "{rung}"
[[pipeline.filter]]
name = "shape"
heuristics = {{}}
[pipeline.ladder]
{rung} = 0.04
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Refusals(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        where = Path(folder.name)
        self.authority = trustme.CA()
        issued = self.authority.issue_cert("tarpit.example", "deny.example")
        issued.private_key_pem.write_to_path(where / "key.pem")
        (where / "chain.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        self.port, admin = free_port(), free_port()
        config = where / "t.toml"
        config.write_text(
            f'[server]\nthreads = 2\nmodels_dir = "{ROOT}/models"\n[admin]\naddress = "127.0.0.1:{admin}"\n'
            f'[[listener]]\naddress = "127.0.0.1:{self.port}"\ntls = true\n[[certificate]]\nhosts = ["*"]\n'
            'chain_file = "chain.pem"\nkey_file = "key.pem"\n'
            f'[[upstream]]\nname = "o"\nservers = [{{ address = "127.0.0.1:{free_port()}" }}]\n'
            + "".join(PIPELINE.format(rung=rung) for rung in ("deny", "tarpit"))
        )
        gateway = subprocess.Popen(
            [PROGRAM, "run", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.addCleanup(gateway.wait)
        self.addCleanup(gateway.send_signal, signal.SIGTERM)
        started = time.monotonic()
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), PATIENCE).close()
                return
            except ConnectionRefusedError:
                self.assertIsNone(gateway.poll(), "the gateway ended")
                self.assertLess(time.monotonic() - started, PATIENCE, "the gateway does not start")
                time.sleep(0.05)

    def refused(self, host, call):
        credentials = grpc.ssl_channel_credentials(self.authority.cert_pem.bytes())
        options = [("grpc.ssl_target_name_override", host), ("grpc.default_authority", host)]
        with grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as channel:
            with self.assertRaises(grpc.RpcError) as raised:
                call(channel)
        return raised.exception.code(), raised.exception.details()

    def test_each_kind_of_call_is_told_the_status(self):
        calls = {
            "one": lambda channel: channel.unary_unary("/a.B/C")(b"x", timeout=PATIENCE),
            "answers": lambda channel: list(channel.unary_stream("/a.B/C")(b"x", timeout=PATIENCE)),
            "requests": lambda channel: channel.stream_unary("/a.B/C")(iter([b"x"] * 9), timeout=PATIENCE),
            "both": lambda channel: list(channel.stream_stream("/a.B/C")(iter([b"x"] * 9), timeout=PATIENCE)),
        }
        for name, call in calls.items():
            with self.subTest(name):
                code, details = self.refused("deny.example", call)
                self.assertEqual(code, grpc.StatusCode.PERMISSION_DENIED)
                self.assertIn("not allowed", details)
                code, details = self.refused("tarpit.example", call)
                self.assertEqual(code, grpc.StatusCode.RESOURCE_EXHAUSTED)
                self.assertIn("try again", details)


if __name__ == "__main__":
    unittest.main()
