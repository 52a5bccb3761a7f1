"""A sidecar that asks a model behind a real OpenAI-compatible server: litellm's proxy, whose answers
are written down and whose calls, keys and usage are its own."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

from test_sidecar import PATIENCE, PROGRAM, Sidecar, assess, free_port, pb

KEY = "sk-a-key-of-the-test"
SERVER = Path(sys.prefix).parent / "model" / "bin" / "litellm"
MODELS = """
model_list:
  - model_name: reader
    litellm_params:
      model: openai/reader
      api_key: none
      mock_response: '{"verdict":"scraper","confidence":0.9,"reason":"pages alone"}'
  - model_name: talker
    litellm_params:
      model: openai/talker
      api_key: none
      mock_response: 'I think that this is a person.'
general_settings:
  master_key: %s
"""
START = 120


class Models:
    """The proxy."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        config = Path(self.folder.name) / "models.yaml"
        config.write_text(MODELS % KEY)
        self.port = free_port()
        self.log = open(Path(self.folder.name) / "log", "w+")
        self.child = subprocess.Popen(
            [SERVER, "--config", config, "--host", "127.0.0.1", "--port", str(self.port), "--telemetry", "False"],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )
        deadline = time.monotonic() + START
        while not self.is_ready():
            if self.child.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                raise AssertionError(f"no start: {self.log.read()[-2000:]}")
            time.sleep(0.2)

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/liveliness", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def end(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(PATIENCE)
        self.log.close()
        self.folder.cleanup()


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def settings(port, model="reader"):
    return (
        f'[[llm.provider]]\nname = "proxy"\nuri = "openai://{model}"\n'
        f'endpoint = "http://127.0.0.1:{port}/v1"\nkey_file = "model.key"\n'
        "input_price = 1.0\noutput_price = 4.0\n"
    )


class AskingSidecar(Sidecar):
    """A sidecar with a model and its key."""

    def __init__(self, port, key=KEY, model="reader"):
        self.key = key
        super().__init__(settings(port, model))

    def start(self):
        (Path(self.folder.name) / "model.key").write_text(self.key + "\n")
        super().start()

    def doubt(self, number, agent="some-agent"):
        """A case that the cheap steps leave in doubt, and the step in which a model was asked."""
        signals = [pb.Signal(reason="headers.no_accept_language", weight=0.5)]
        claims = pb.Claims(user_agent=agent, http_version=11)
        found = assess(self.calls(), number, score=0.5, signals=signals, claims=claims)
        return found, next(step for step in found.steps if step.name == "llm")


class AModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.models = Models()
        cls.addClassCleanup(cls.models.end)

    def sidecar(self, **more):
        made = AskingSidecar(self.models.port, **more)
        self.addCleanup(made.clear_away)
        return made

    def test_judges_a_case_in_doubt_and_what_it_says_is_paid_for_and_decided(self):
        sidecar = self.sidecar()
        found, step = sidecar.doubt(1)
        self.assertFalse(step.failed, step.evidence)
        self.assertEqual(step.evidence, "proxy/reader says scraper (0.90): pages alone")
        # 1 - (1 - 0.5) (1 - 0.9 * 0.85), cut at the end of the band, throttles.
        self.assertAlmostEqual(found.score, 0.8825, 3)
        self.assertEqual(found.action, pb.ACTION_THROTTLE)
        self.assertEqual(found.decision.reason, "sidecar.llm")
        again, _ = sidecar.doubt(2)
        self.assertEqual(again.action, pb.ACTION_THROTTLE)
        counted = sidecar.metrics()
        labels = '{model="reader",provider="proxy",verdict="scraper"}'
        self.assertEqual(counted[f"thornwall_sidecar_llm_verdicts_total{labels}"], 1)
        self.assertEqual(counted["thornwall_sidecar_llm_recalled_total"], 1)
        # What the server says that it took: 10 tokens in and 20 out.
        self.assertEqual(counted['thornwall_sidecar_llm_tokens{window="hour"}'], 30)
        self.assertAlmostEqual(counted['thornwall_sidecar_llm_money{window="day"}'], 90e-6, 7)

    def test_that_talks_or_refuses_the_key_has_no_say(self):
        found, step = self.sidecar(model="talker").doubt(1)
        self.assertTrue(step.failed)
        self.assertIn("not the JSON that was asked for", step.evidence)
        self.assertEqual(found.action, pb.ACTION_NONE)
        found, step = self.sidecar(key="sk-wrong").doubt(1)
        self.assertTrue(step.failed)
        self.assertNotIn("sk-wrong", step.evidence)
        self.assertEqual(found.action, pb.ACTION_NONE)

    def test_a_person_says_whether_it_was_right(self):
        sidecar = self.sidecar()
        found, _ = sidecar.doubt(1)
        label = pb.FeedbackRequest(case_id=found.case_id, label=pb.LABEL_PERSON)
        deadline = time.monotonic() + PATIENCE
        sidecar.calls().Feedback(label)
        labels = '{model="reader",provider="proxy",truth="person",verdict="scraper"}'
        while sidecar.metrics().get(f"thornwall_sidecar_llm_truth_total{labels}") != 1:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_what_was_spent_is_remembered_over_a_restart(self):
        sidecar = self.sidecar()
        sidecar.doubt(1)
        self.assertEqual(sidecar.end(), 0)
        sidecar.start()
        sidecar.doubt(2, agent="another-agent")
        self.assertEqual(sidecar.metrics()['thornwall_sidecar_llm_tokens{window="day"}'], 60)

    def test_a_new_configuration_is_taken_over_and_a_broken_one_is_not(self):
        sidecar = self.sidecar(model="talker")
        _, step = sidecar.doubt(1, agent="first")
        self.assertTrue(step.failed)
        text = sidecar.config.read_text()
        self.reload(sidecar, text.replace("openai://talker", "openai://reader"), "taken")
        _, step = sidecar.doubt(2, agent="second")
        self.assertFalse(step.failed, step.evidence)
        self.reload(sidecar, text.replace('"model.key"', '"no.key"'), "refused")
        self.reload(sidecar, text.replace('data_dir = "data"', 'data_dir = "other"'), "refused")
        _, step = sidecar.doubt(3, agent="third")
        self.assertFalse(step.failed, step.evidence)

    def reload(self, sidecar, text, outcome):
        name = f'thornwall_sidecar_reloads_total{{outcome="{outcome}"}}'
        before = sidecar.metrics().get(name, 0)
        sidecar.config.write_text(text)
        sidecar.child.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while sidecar.metrics().get(name, 0) == before:
            self.assertLess(time.monotonic(), deadline, f"{outcome}: {text}")
            time.sleep(0.05)


class ATool(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        python, server = SERVER.with_name("python"), Path(__file__).with_name("tool_server.py")
        cls.child = subprocess.Popen([python, server, str(cls.port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(lambda: (cls.child.kill(), cls.child.wait(PATIENCE)))
        deadline = time.monotonic() + START
        while not is_open(cls.port):
            assert cls.child.poll() is None and time.monotonic() < deadline, "no start"
            time.sleep(0.1)

    def step(self, tool, agent):
        text = settings(self.port).replace("openai://reader", f"mcp://{tool}").replace("/v1", "/mcp")
        sidecar = AskingSidecar(self.port)
        self.addCleanup(sidecar.clear_away)
        sidecar.end()
        sidecar.config.write_text(sidecar.config.read_text().replace(settings(self.port), text))
        sidecar.start()
        return sidecar.doubt(1, agent=agent)[1]

    def test_judges_as_a_model_does(self):
        step = self.step("classify", "curl/8.5.0")
        self.assertEqual(step.evidence, "proxy/classify says scraper (0.80): the tool's rule")
        self.assertIn("says unsure", self.step("classify", "Lynx/2.9").evidence)

    def test_that_fails_or_is_not_there_has_no_say(self):
        for tool, why in [("broken", "the tool failed"), ("absent", "tool")]:
            step = self.step(tool, "curl/8.5.0")
            self.assertTrue(step.failed, tool)
            self.assertIn(why, step.evidence)


class ACheck(unittest.TestCase):
    def test_names_the_key_that_is_missing_and_prints_none(self):
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "sidecar.toml"
            config.write_text(settings(1))
            checked = subprocess.run([PROGRAM, "check", "-c", config], capture_output=True, text=True)
            self.assertEqual(checked.returncode, 2)
            self.assertIn("key of provider `proxy`", checked.stderr)
            self.assertIn("model.key", checked.stderr)
            (Path(folder) / "model.key").write_text(KEY)
            checked = subprocess.run([PROGRAM, "check", "-c", config], capture_output=True, text=True)
            self.assertEqual(checked.returncode, 0, checked.stderr)
            self.assertNotIn(KEY, checked.stderr)


if __name__ == "__main__":
    unittest.main()
