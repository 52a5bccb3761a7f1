"""What both ends of the contract do with an earlier and a later version of it.

Runs once with clients of each: `VERSION` names whose they are. The sidecar and the gateway are the ones
that were built.
"""

import http.server
import os
import signal
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request
from concurrent import futures
from pathlib import Path

import grpc
from test_sidecar import PATIENCE, TARGET, Gateway, Sidecar, free_port
from thornwall.escalation.v1 import escalation_pb2 as pb
from thornwall.escalation.v1 import escalation_pb2_grpc as rpc

NEWER = os.environ["VERSION"] == "newer"
SCANNER = "192.0.2.7"


def made(message, **fields):
    """A message with those of the fields that this version has, and with all that only it has."""
    known = message.DESCRIPTOR.fields_by_name
    fields = {name: value for name, value in fields.items() if name in known}
    text = {name: "of another version" for name in ("ja4", "version") if name in known}
    hint = {"hint": pb.Hint(text="x")} if "hint" in known and message is not pb.SidecarMessage else {}
    return message(**{**fields, **text, **hint})


def case(subject=SCANNER):
    now = int(time.time() * 1000)
    return made(
        pb.Case,
        id="7".zfill(32),
        site="t",
        subject=subject,
        shape=7,
        requests=3,
        first_ms=now - 3000,
        last_ms=now,
        score=0.6,
        signals=[pb.Signal(reason="user_agent.scanner", weight=0.99)],
        samples=[made(pb.Request, method="GET", path="/", score=0.6, parameters=["a"])],
        hints=[pb.Hint(text="x")] * 3 if NEWER else [],
    )


class TheSidecar(unittest.TestCase):
    """Another version's clients, and the sidecar that was built."""

    def setUp(self):
        self.sidecar = Sidecar()
        self.client = self.sidecar.calls()

    def tearDown(self):
        self.sidecar.clear_away()

    def test_a_case_is_assessed(self):
        found = self.client.Assess(pb.AssessRequest(case=case()))
        self.assertEqual(found.action, pb.ACTION_DENY)
        self.assertEqual(found.decision.subject, SCANNER)
        self.assertGreater(found.decision.until_ms, found.decision.made_ms)

    def test_a_gateway_is_heard_and_told(self):
        gateway = Gateway(self.client)
        welcome = gateway.hear("welcome")
        self.assertEqual(len(welcome.sidecar), 32)
        if NEWER:
            gateway.send(pb.GatewayMessage(hint=pb.Hint(text="x")))
            outcome = pb.Outcome(case_id="7".zfill(32), truth=pb.Outcome.TRUTH_PAID)
            gateway.send(pb.GatewayMessage(outcome=outcome))
        gateway.send(pb.GatewayMessage(case=case()))
        self.assertEqual(gateway.hear("decision").action, pb.ACTION_DENY)
        gateway.leave()

    @unittest.skipUnless(NEWER, "an earlier version has nothing that is not known")
    def test_what_is_not_known_is_refused_where_it_matters(self):
        order = pb.OverrideRequest(subject=SCANNER, action=pb.ACTION_CHALLENGE, for_secs=60)
        said = pb.FeedbackRequest(case_id="7".zfill(32), label=pb.LABEL_NEWER)
        for call, message, code in (
            ("Override", order, grpc.StatusCode.INVALID_ARGUMENT),
            ("Feedback", said, grpc.StatusCode.INVALID_ARGUMENT),
            ("Ping", pb.Hello(), grpc.StatusCode.UNIMPLEMENTED),
        ):
            with self.subTest(call), self.assertRaises(grpc.RpcError) as refused:
                getattr(self.client, call)(message)
            self.assertEqual(refused.exception.code(), code)


class Decider(rpc.EscalationServicer):
    """A sidecar of another version, which denies every client."""

    def __init__(self):
        self.hellos, self.cases, self._number = [], [], 0

    def Stream(self, messages, context):
        self.hellos.append(next(messages).hello)
        yield pb.SidecarMessage(welcome=made(pb.Welcome, sidecar="another version"))
        for message in messages:
            if message.WhichOneof("message") != "case":
                continue
            self.cases.append(message.case)
            if NEWER:
                yield pb.SidecarMessage(hint=pb.Hint(text="x"))
                yield self._decided(message.case, pb.ACTION_CHALLENGE)
                yield self._assessed(message.case, pb.ACTION_CHALLENGE)
            yield self._assessed(message.case, pb.ACTION_DENY)
            yield self._decided(message.case, pb.ACTION_DENY)

    def _decided(self, about, action):
        self._number += 1
        now = int(time.time() * 1000)
        return pb.SidecarMessage(
            decision=made(
                pb.Decision,
                number=self._number,
                subject=about.subject,
                site=about.site,
                action=action,
                reason="sidecar.rules",
                made_ms=now,
                until_ms=now + 60_000,
            )
        )

    def _assessed(self, about, action):
        return pb.SidecarMessage(
            assessment=made(
                pb.Assessment,
                case_id=about.id,
                site=about.site,
                subject=about.subject,
                score=0.9,
                action=action,
                reason="sidecar.rules",
            )
        )


class TheGateway(unittest.TestCase):
    """The gateway that was built, and another version's sidecar."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.decider = Decider()
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        rpc.add_EscalationServicer_to_server(self.decider, self.server)
        sidecar = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()
        self.origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        threading.Thread(target=self.origin.serve_forever, daemon=True).start()
        self.port, self.admin = free_port(), free_port()
        config = Path(self.folder.name) / "t.toml"
        (config.parent / "token").write_text("0123456789abcdef0123456789abcdef")
        config.write_text(CONFIG.format(self=self, sidecar=sidecar))
        self.log = open(config.with_suffix(".log"), "wb")
        program = TARGET / "debug" / "thornwall"
        self.child = subprocess.Popen([program, "run", "-c", config], stderr=self.log)

    def tearDown(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(PATIENCE)
        self.log.close()
        self.server.stop(None)
        self.origin.shutdown()
        self.origin.server_close()
        self.folder.cleanup()

    def status(self, client):
        headers = {"X-Forwarded-For": client, "User-Agent": "zgrab/0.x"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return None

    def metrics(self):
        url = f"http://127.0.0.1:{self.admin}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def wait_for(self, what, ready):
        deadline = time.monotonic() + PATIENCE
        while not ready():
            self.assertLess(time.monotonic(), deadline, f"waited in vain for {what}")
            time.sleep(0.05)

    def test_decisions_are_enforced_and_the_rest_is_let_be(self):
        self.wait_for("the gateway", lambda: self.status("192.0.2.1") == 200)
        self.wait_for("the hello", lambda: self.decider.hellos)
        self.assertTrue(self.decider.hellos[0].gateway)
        self.wait_for("the decision", lambda: self.status(SCANNER) == 403)
        about = next(case for case in self.decider.cases if case.subject == SCANNER)
        self.assertEqual((about.site, len(about.id)), ("t", 32))
        self.assertGreaterEqual(about.requests, 1)
        self.assertEqual(len(self.decider.hellos), 1, "the connection was kept")
        # An action of a later version is none that could be taken here, and no mistake.
        counted = [line for line in self.metrics().splitlines() if "answers_total" in line]
        nothing = [line for line in counted if 'action="none"' in line and line[-2:] != " 0"]
        self.assertEqual(bool(nothing), NEWER, counted)
        refused = [line for line in self.metrics().splitlines() if "escalation_refused_total{" in line]
        self.assertEqual([line.rpartition(" ")[2] for line in refused], ["0"])


class Site(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


CONFIG = """
[admin]
address = "127.0.0.1:{self.admin}"
[access_log]
file = "off"
[client_address]
trusted_proxies = ["127.0.0.1"]
[escalation]
address = "http://127.0.0.1:{sidecar}"
token_file = "token"
[[listener]]
address = "127.0.0.1:{self.port}"
[[upstream]]
name = "o"
servers = [{{ address = "127.0.0.1:{self.origin.server_port}" }}]
[[site]]
name = "t"
hosts = ["*"]
upstream = "o"
pipeline = "p"
[[pipeline]]
name = "p"
[[pipeline.filter]]
name = "known_bad"
blocklist = {{}}
[[pipeline.filter]]
name = "shape"
heuristics = {{}}
[[pipeline.filter]]
name = "second_opinion"
escalate = {{ score = [0.3, 1.0] }}
"""

if __name__ == "__main__":
    unittest.main()
