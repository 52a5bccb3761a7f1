"""A sidecar that other machines reach: certificates on both sides, which may change while it runs."""

import signal
import socket
import ssl
import tempfile
import time
import unittest
from pathlib import Path

import grpc
import trustme
from test_sidecar import PATIENCE, Client, Sidecar, assess, pb, rpc


class TlsSidecar(Sidecar):
    """A sidecar with certificates of a test authority."""

    def __init__(self):
        self.authority = trustme.CA()
        self.mine = self.authority.issue_cert("gateway")
        self.secrets = tempfile.TemporaryDirectory()
        self.issue()
        super().__init__()

    def file(self, name):
        return Path(self.secrets.name) / name

    def issue(self):
        self.shown = self.authority.issue_cert("localhost")
        self.shown.private_key_pem.write_to_path(self.file("key.pem"))
        self.file("chain.pem").write_bytes(b"".join(blob.bytes() for blob in self.shown.cert_chain_pems))
        self.authority.cert_pem.write_to_path(self.file("ca.pem"))

    def start(self):
        text = self.config.read_text()
        if "server.tls" not in text:
            tls = "".join(
                f'{key} = "{self.file(name)}"\n'
                for key, name in [("chain_file", "chain.pem"), ("key_file", "key.pem"), ("client_ca_file", "ca.pem")]
            )
            self.config.write_text(f"{text}[server.tls]\n{tls}")
        super().start()

    def clear_away(self):
        super().clear_away()
        self.secrets.cleanup()

    def channel(self, mine=None, authority=None):
        mine, authority = mine or self.mine, authority or self.authority
        credentials = grpc.ssl_channel_credentials(
            authority.cert_pem.bytes(),
            mine.private_key_pem.bytes(),
            b"".join(blob.bytes() for blob in mine.cert_chain_pems),
        )
        name = [("grpc.ssl_target_name_override", "localhost")]
        return grpc.secure_channel(f"127.0.0.1:{self.port}", credentials, name)

    def client(self, **how):
        made = Client(self.port, self.token())
        made.channel.close()
        made.channel = self.channel(**how)
        made._stub = rpc.EscalationStub(made.channel)
        return made

    def serial(self):
        """The number of the certificate that it shows now."""
        context = ssl.create_default_context(cadata=self.authority.cert_pem.bytes().decode())
        self.mine.configure_cert(context)
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as wrapped:
                return wrapped.getpeercert()["serialNumber"]


class Tls(unittest.TestCase):
    def setUp(self):
        self.sidecar = TlsSidecar()
        self.addCleanup(self.sidecar.clear_away)

    def refused(self, client):
        with self.assertRaises(grpc.RpcError) as caught:
            assess(client, 1)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)

    def test_serves_who_shows_a_certificate_and_a_token(self):
        found = assess(self.sidecar.client(), 1)
        self.assertEqual(found.action, pb.ACTION_DENY)
        self.refused(self.sidecar.client(mine=trustme.CA().issue_cert("gateway")))
        self.refused(self.sidecar.client(authority=trustme.CA()))
        self.refused(self.sidecar.calls())

    def test_a_silent_caller_holds_nobody_up(self):
        silent = [socket.create_connection(("127.0.0.1", self.sidecar.port)) for _ in range(50)]
        self.addCleanup(lambda: [one.close() for one in silent])
        began = time.monotonic()
        assess(self.sidecar.client(), 1)
        self.assertLess(time.monotonic() - began, 4)
        # And is sent away.
        silent[0].settimeout(PATIENCE)
        self.assertEqual(silent[0].recv(1), b"")

    def test_new_certificates_are_shown_from_the_next_handshake_on(self):
        kept = self.sidecar.client()
        assess(kept, 1)
        before = self.sidecar.serial()
        self.sidecar.issue()
        self.sidecar.child.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while self.sidecar.serial() == before:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        # Who is there stays, also beside a broken file.
        assess(kept, 2)
        self.sidecar.file("key.pem").write_text("broken")
        self.sidecar.child.send_signal(signal.SIGHUP)
        while self.sidecar.metrics().get('thornwall_sidecar_reloads_total{outcome="refused"}') != 1:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        assess(self.sidecar.client(), 3)


if __name__ == "__main__":
    unittest.main()
