"""What a sidecar does for callers that know nothing of it but the contract."""

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from thornwall.escalation.v1 import escalation_pb2 as pb
from thornwall.escalation.v1 import escalation_pb2_grpc as rpc

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PROGRAM = TARGET / "debug" / "thornwall-sidecar"
PATIENCE = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Sidecar:
    """A running sidecar with a folder of its own."""

    def __init__(self, extra=""):
        self.folder = tempfile.TemporaryDirectory()
        self.port, self.admin = free_port(), free_port()
        self.config = Path(self.folder.name) / "sidecar.toml"
        self.config.write_text(
            f'[server]\naddress = "127.0.0.1:{self.port}"\ndata_dir = "data"\n'
            f'[admin]\naddress = "127.0.0.1:{self.admin}"\n{extra}'
        )
        self.start()

    def start(self):
        self.child = subprocess.Popen(
            [PROGRAM, "run", "-c", self.config], stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + PATIENCE
        while not self.is_ready():
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no start: {self.child.stderr.read()}")
            time.sleep(0.02)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def metrics(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def end(self, how=signal.SIGTERM):
        self.child.send_signal(how)
        code = self.child.wait(PATIENCE)
        self.child.stderr.close()
        return code

    def clear_away(self):
        if self.child.poll() is None:
            self.end(signal.SIGKILL)
        self.folder.cleanup()

    def token(self, file="data/sidecar.token"):
        return (Path(self.folder.name) / file).read_text().strip()

    def calls(self, token=None):
        """A client that shows this token with every call; the gateway's where none is given."""
        return Client(self.port, self.token() if token is None else token)


class Client:
    def __init__(self, port, token):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stub = rpc.EscalationStub(self.channel)
        self._shown = [("authorization", f"Bearer {token}")]

    def __getattr__(self, name):
        call = getattr(self._stub, name)
        return lambda message, **more: call(
            message, metadata=self._shown, timeout=more.pop("timeout", PATIENCE), **more
        )


def case(number, **more):
    now = int(time.time() * 1000)
    fields = {
        "id": f"{number:032x}",
        "site": "shop",
        "subject": f"192.0.2.{number % 256}",
        "shape": 7,
        "requests": 3,
        "first_ms": now - 3000,
        "last_ms": now,
        "score": 0.6,
        "signals": [pb.Signal(reason="user_agent.scanner", weight=0.99)],
        "samples": [pb.Request(after_ms=0, method="GET", path="/", score=0.6)],
        "claims": pb.Claims(user_agent="zgrab/0.x", http_version=11),
        "request_ids": ["0198c0de7f3a7cc0a1b2c3d4e5f60718"],
    }
    return pb.Case(**{**fields, **more})


def assess(client, number, **more):
    return client.Assess(pb.AssessRequest(case=case(number, **more)))


class Gateway:
    """A gateway's connection: what it is told, as it comes."""

    def __init__(self, client, **hello):
        self._cases, self._more, self._over = [], threading.Condition(), False
        first = pb.GatewayMessage(hello=pb.Hello(gateway="g", **hello))
        self._told = client.Stream(self._messages(first))

    def _messages(self, first):
        yield first
        while True:
            with self._more:
                self._more.wait_for(lambda: self._cases or self._over)
                if not self._cases:
                    return
                message = self._cases.pop(0)
            yield message

    def send(self, message):
        with self._more:
            self._cases.append(message)
            self._more.notify()

    def hear(self, kind):
        """The next message of this kind."""
        for message in self._told:
            if message.WhichOneof("message") == kind:
                return getattr(message, kind)
        raise AssertionError(f"the sidecar left before {kind}")

    def leave(self):
        with self._more:
            self._over = True
            self._more.notify()
        self._told.cancel()


class Refusals(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        roles = "".join(
            f'[[caller]]\nname = "{role}"\ntoken_file = "{role}.token"\nroles = ["{role}"]\n'
            for role in ("assess", "watch", "operate")
        )
        cls.sidecar = Sidecar(roles)

    @classmethod
    def tearDownClass(cls):
        cls.sidecar.clear_away()

    def client(self, role):
        return self.sidecar.calls(self.sidecar.token(f"{role}.token"))

    def refused(self, code, call, *messages):
        with self.assertRaises(grpc.RpcError) as refused:
            answer = call(*messages)
            # A stream's refusal comes with its first message.
            list(answer)
        self.assertEqual(refused.exception.code(), code)
        return refused.exception.details()

    def test_each_call_asks_for_its_role(self):
        one = pb.AssessRequest(case=case(1))
        calls = [
            ("Assess", one, "assess"),
            ("Stream", iter([pb.GatewayMessage(hello=pb.Hello(gateway="g"))]), "assess"),
            ("Watch", pb.WatchRequest(), "watch"),
            ("Explain", pb.ExplainRequest(case_id="0" * 32), "watch"),
            ("List", pb.ListRequest(), "watch"),
            ("Override", pb.OverrideRequest(), "operate"),
            ("Revoke", pb.RevokeRequest(), "operate"),
            ("Feedback", pb.FeedbackRequest(), "operate"),
        ]
        for name, message, role in calls:
            for other in {"assess", "watch", "operate"} - {role}:
                with self.subTest(name, other=other):
                    call = getattr(self.client(other), name)
                    details = self.refused(grpc.StatusCode.PERMISSION_DENIED, call, message)
                    self.assertIn(role, details)
            with self.subTest(name, other="nobody"):
                stranger = getattr(self.sidecar.calls("0" * 32), name)
                self.refused(grpc.StatusCode.UNAUTHENTICATED, stranger, message)

    def test_a_malformed_case_is_refused_by_the_name_of_its_field(self):
        client = self.client("assess")
        malformed = {
            "case.id": {"id": "x"},
            "case.site": {"site": ""},
            "case.subject": {"subject": "shop.example"},
            "case.subject` is out": {"subject": "192.0.2.0/24"},
            "case.score": {"score": float("nan")},
            "case.requests": {"requests": 0},
            "case.signals": {"signals": [pb.Signal(reason="x")] * 33},
            "signal.reason": {"signals": [pb.Signal(reason="x" * 65)]},
            "signal.weight": {"signals": [pb.Signal(reason="x", weight=1.5)]},
            "case.samples": {"samples": [pb.Request()] * 33},
            "request.path": {"samples": [pb.Request(path="/" * 257)]},
            "claims.user_agent": {"claims": pb.Claims(user_agent="x" * 257)},
        }
        for field, fields in malformed.items():
            with self.subTest(field):
                message = pb.AssessRequest(case=case(1, **fields))
                details = self.refused(
                    grpc.StatusCode.INVALID_ARGUMENT, client.Assess, message
                )
                self.assertIn(f"`{field}", details)

    def test_a_message_that_is_too_large_is_refused(self):
        huge = pb.AssessRequest(case=case(1, site="x" * (65 << 10)))
        self.refused(grpc.StatusCode.OUT_OF_RANGE, self.client("assess").Assess, huge)

    def test_a_stream_begins_with_hello(self):
        messages = iter([pb.GatewayMessage(case=case(1))])
        call = self.client("assess").Stream
        self.refused(grpc.StatusCode.FAILED_PRECONDITION, call, messages)

    def test_what_is_not_there_is_not_found(self):
        missing = pb.ExplainRequest(case_id="f" * 32)
        self.refused(grpc.StatusCode.NOT_FOUND, self.client("watch").Explain, missing)
        revoke = pb.RevokeRequest(subject="203.0.113.1")
        self.refused(grpc.StatusCode.NOT_FOUND, self.client("operate").Revoke, revoke)

    def test_orders_that_are_none_are_refused(self):
        client = self.client("operate")
        alert = pb.OverrideRequest(subject="192.0.2.1", action=pb.ACTION_ALERT, for_secs=60)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, client.Override, alert)
        for_ever = pb.OverrideRequest(subject="192.0.2.1", action=pb.ACTION_DENY)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, client.Override, for_ever)
        for everybody in ("0.0.0.0/0", "::/0", "::ffff:0:0/96", "128.0.0.0/1"):
            order = pb.OverrideRequest(subject=everybody, action=pb.ACTION_DENY, for_secs=60)
            self.refused(grpc.StatusCode.INVALID_ARGUMENT, client.Override, order)
            order.broad = True
            self.assertTrue(client.Override(order).decision.subject)
            client.Revoke(pb.RevokeRequest(subject=everybody))
        unknown = pb.FeedbackRequest(case_id="0" * 32, label=99)
        self.refused(grpc.StatusCode.INVALID_ARGUMENT, client.Feedback, unknown)


class Service(unittest.TestCase):
    def setUp(self):
        self.sidecar = Sidecar()
        self.client = self.sidecar.calls()

    def tearDown(self):
        self.sidecar.clear_away()

    def test_health_and_reflection_are_there(self):
        health = health_pb2_grpc.HealthStub(self.client.channel)
        name = pb.DESCRIPTOR.services_by_name["Escalation"].full_name
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
        self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        reflection = reflection_pb2_grpc.ServerReflectionStub(self.client.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        with self.assertRaises(grpc.RpcError) as refused:
            list(reflection.ServerReflectionInfo(iter([asked]), timeout=PATIENCE))
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAUTHENTICATED)
        metadata = [("authorization", "Bearer " + self.sidecar.token())]
        (answer,) = reflection.ServerReflectionInfo(
            iter([asked]), timeout=PATIENCE, metadata=metadata
        )
        self.assertIn(name, [service.name for service in answer.list_services_response.service])

    def test_a_case_becomes_a_decision_that_is_explained(self):
        found = assess(self.client, 7)
        self.assertEqual(found.action, pb.ACTION_DENY)
        self.assertEqual(found.reason, "user_agent.scanner")
        self.assertEqual(found.decision.subject, "192.0.2.7")
        self.assertEqual(found.decision.until_ms - found.decision.made_ms, 3_600_000)
        scores = [step.score for step in found.steps]
        self.assertEqual(scores, sorted(scores))
        explained = self.client.Explain(pb.ExplainRequest(case_id=found.case_id))
        self.assertEqual(explained.case.claims.user_agent, "zgrab/0.x")
        self.assertEqual(explained.assessment, found)

    def test_a_case_that_is_nothing_is_no_decision(self):
        found = assess(self.client, 8, score=0.2, signals=[pb.Signal(reason="x", weight=0.2)])
        self.assertEqual(found.action, pb.ACTION_NONE)
        self.assertFalse(found.HasField("decision"))

    def test_unknown_fields_and_reasons_of_another_version_are_let_be(self):
        sent = pb.AssessRequest(case=case(9)).SerializeToString() + b"\xfa\x01\x03new"
        newer = pb.AssessRequest.FromString(sent)
        newer.case.signals.append(pb.Signal(reason="of.another_version", weight=0.1))
        self.assertEqual(self.client.Assess(newer).action, pb.ACTION_DENY)

    def test_every_gateway_is_told_and_one_that_was_away_is_told_again(self):
        one = Gateway(self.client)
        welcome = one.hear("welcome")
        other = Gateway(self.client)
        other.hear("welcome")
        one.send(pb.GatewayMessage(case=case(1)))
        decided = other.hear("decision")
        self.assertEqual(decided.subject, "192.0.2.1")
        other.leave()
        one.send(pb.GatewayMessage(case=case(2)))
        missed = one.hear("decision")
        while missed.subject != "192.0.2.2":
            missed = one.hear("decision")
        again = Gateway(self.client, sidecar=welcome.sidecar, after=decided.number)
        self.assertEqual(again.hear("decision"), missed)
        stranger = Gateway(self.client, sidecar="another", after=missed.number)
        self.assertEqual(stranger.hear("decision"), decided)

    def test_a_malformed_case_costs_a_gateway_nothing_but_itself(self):
        gateway = Gateway(self.client)
        gateway.hear("welcome")
        gateway.send(pb.GatewayMessage(case=case(1, subject="nobody")))
        gateway.send(pb.GatewayMessage())
        gateway.send(pb.GatewayMessage(case=case(2)))
        self.assertEqual(gateway.hear("assessment").subject, "192.0.2.2")
        self.assertEqual(self.sidecar.metrics()["thornwall_sidecar_refused_total"], 2)

    def test_an_operators_word_stands_until_it_is_revoked(self):
        gateway = Gateway(self.client)
        gateway.hear("welcome")
        order = pb.OverrideRequest(
            subject="192.0.2.7", site="shop", action=pb.ACTION_THROTTLE, for_secs=60, note="slow"
        )
        ordered = self.client.Override(order).decision
        self.assertTrue(ordered.by_operator)
        self.assertEqual(gateway.hear("decision"), ordered)
        self.assertEqual(assess(self.client, 7).decision, ordered)
        gone = self.client.Revoke(pb.RevokeRequest(subject="192.0.2.7", site="shop")).withdrawal
        self.assertEqual(gateway.hear("withdrawal"), gone)
        self.assertEqual(assess(self.client, 7).decision.action, pb.ACTION_DENY)

    def test_what_a_person_says_spares_and_survives(self):
        found = assess(self.client, 7)
        said = pb.FeedbackRequest(case_id=found.case_id, label=pb.LABEL_PERSON, note="a customer")
        self.client.Feedback(said)
        self.assertEqual(assess(self.client, 7).action, pb.ACTION_NONE)
        self.assertEqual(self.sidecar.end(), 0)
        self.sidecar.start()
        client = self.sidecar.calls()
        self.assertEqual(assess(client, 7).action, pb.ACTION_NONE)
        explained = client.Explain(pb.ExplainRequest(case_id=found.case_id))
        self.assertEqual(explained.label, pb.LABEL_PERSON)
        self.assertEqual(explained.note, "gateway: a customer")

    def test_a_sidecar_that_is_killed_keeps_its_numbers_and_what_it_decided(self):
        decided = [assess(self.client, number).decision for number in range(1, 40)]
        # Longer than a batch waits.
        time.sleep(1)
        self.sidecar.end(signal.SIGKILL)
        self.sidecar.start()
        client = self.sidecar.calls()
        gateway = Gateway(client)
        told = [gateway.hear("decision") for _ in decided]
        self.assertEqual(told, decided)
        later = assess(client, 77).decision
        self.assertGreater(later.number, decided[-1].number)

    def test_the_history_is_listed_page_by_page(self):
        for number in range(1, 26):
            assess(self.client, number, site="blog" if number % 5 == 0 else "shop")
        seen, page = [], ""
        while True:
            request = pb.ListRequest(site="shop", page_size=7, page=page)
            answer = self.client.List(request)
            seen += [assessment.case_id for assessment in answer.assessments]
            page = answer.next_page
            if not page:
                break
        expected = [f"{number:032x}" for number in range(1, 26) if number % 5]
        self.assertEqual(sorted(seen), expected)
        inside = self.client.List(pb.ListRequest(subject="192.0.2.8/30"))
        self.assertEqual(
            {found.subject for found in inside.assessments},
            {"192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11"},
        )

    def test_a_watcher_sees_what_it_asked_for(self):
        watched = self.client.Watch(pb.WatchRequest(site="shop", least=pb.ACTION_TARPIT))
        seen = []

        def watch():
            for assessment in watched:
                seen.append(assessment.case_id)
                return

        thread = threading.Thread(target=watch)
        thread.start()
        deadline = time.monotonic() + PATIENCE
        number = 0
        while thread.is_alive() and time.monotonic() < deadline:
            number += 1
            assess(self.client, number, site="blog")
            assess(self.client, 100, score=0.1, signals=[])
            assess(self.client, 200)
            thread.join(0.05)
        watched.cancel()
        self.assertEqual(seen, [f"{200:032x}"])


class Start(unittest.TestCase):
    def run_with(self, text):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "sidecar.toml"
            config.write_text(text)
            return subprocess.run(
                [PROGRAM, "check", "-c", config], capture_output=True, text=True, timeout=PATIENCE
            )

    def test_mistakes_are_told_with_their_places(self):
        found = self.run_with(
            '[server]\naddress = "0.0.0.0:9181"\nfoo = 1\n[ladder]\ntarpit = 0.1\n'
        )
        self.assertEqual(found.returncode, 2)
        for words in ("sidecar.toml:2:11: ", "not of this machine", ":3:1: ", "alert <= throttle"):
            self.assertIn(words, found.stderr)

    def test_the_shipped_configuration_is_good(self):
        found = self.run_with((ROOT / "etc" / "sidecar.toml").read_text())
        self.assertEqual((found.returncode, found.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
