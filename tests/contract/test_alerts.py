"""What people and programs are told of cases: by mail, by a signed webhook, in Slack."""

import asyncio
import email
import email.policy
import hashlib
import hmac
import json
import logging
import queue
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme
from aiosmtpd.smtp import SMTP, AuthResult
from test_sidecar import PATIENCE, PROGRAM, Sidecar, assess, free_port, pb

# Clients that go away are what is tested.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
KEY = "the key of signatures, of 32 characters and more"
PASSWORD = "open-sesame"
ATTACK = "x\r\nBcc: evil@evil.example\r\n\r\n<!channel> & \u202e\x00"
HARMLESS = "x\\r\\nBcc: evil@evil.example\\r\\n\\r\\n<!channel> & \\u{202e}\\0"


class Hook:
    """A receiver of webhooks: keeps what it heard, and answers as it was told."""

    def __init__(self, *statuses, port=0, tls=None):
        self.heard, self.statuses = queue.Queue(), list(statuses)
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.heard.put((self.path, dict(self.headers), body))
                status = hook.statuses.pop(0) if hook.statuses else 200
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def hear(self):
        return self.heard.get(timeout=PATIENCE)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class MailServer:
    """aiosmtpd on a port of its own: the letters that it took, and who logged in."""

    def __init__(self, implicit=None, starttls=None, login=True):
        self.letters, self.logins = queue.Queue(), []
        self.loop = asyncio.new_event_loop()

        def session():
            with warnings.catch_warnings():
                # It takes a socket that is TLS from its first byte on for none.
                warnings.simplefilter("ignore")
                return self.session(starttls, login, implicit is None)

        started = self.loop.create_server(session, "127.0.0.1", 0, ssl=implicit)
        self.server = self.loop.run_until_complete(started)
        self.port = self.server.sockets[0].getsockname()[1]
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def session(self, starttls, login, auth_require_tls):
        return SMTP(
            self,
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=self.authenticate if login else None,
            auth_required=login,
            auth_require_tls=login and auth_require_tls,
            loop=self.loop,
        )

    def authenticate(self, _server, _session, _envelope, _mechanism, given):
        self.logins.append((given.login, given.password))
        good = (given.login, given.password) == (b"thornwall", PASSWORD.encode())
        # What is not handled is answered with 535.
        return AuthResult(success=good, handled=good)

    async def handle_DATA(self, server, _session, envelope):
        over_tls = server.transport.get_extra_info("ssl_object") is not None
        self.letters.put((envelope, over_tls))
        return "250 taken"

    def hear(self):
        return self.letters.get(timeout=PATIENCE)

    def stop(self):
        async def close():
            self.server.close()
            self.loop.stop()

        asyncio.run_coroutine_threadsafe(close(), self.loop)
        self.thread.join()
        self.loop.close()


class Alerts(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = Path(folder.name)
        self.write("key", KEY)
        self.write("password", PASSWORD)
        self.authority = trustme.CA()
        self.write("ca.pem", self.authority.cert_pem.bytes().decode())

    def write(self, name, text):
        (self.files / name).write_text(text + "\n")

    def context(self, authority=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued = (authority or self.authority).issue_cert("127.0.0.1", "localhost")
        issued.configure_cert(context)
        return context

    def hook(self, *statuses, **more):
        hook = Hook(*statuses, **more)
        self.addCleanup(hook.stop)
        return hook

    def mail_server(self, **how):
        server = MailServer(**how)
        self.addCleanup(server.stop)
        return server

    def sidecar(self, *tables):
        sidecar = Sidecar("".join(tables))
        self.addCleanup(sidecar.clear_away)
        return sidecar

    def table(self, name, more):
        return f'[[alert]]\nname = "{name}"\ndigest_secs = 0\ntimeout_secs = 5\n{more}\n'

    def webhook(self, name, port, more=""):
        address = f'webhook = "http://127.0.0.1:{port}/hush-hush"'
        return self.table(name, f'{address}\nsecret_file = "{self.files}/key"\n{more}')

    def slack(self, name, port):
        self.write(f"{name}.url", f"http://127.0.0.1:{port}/hush-hush")
        return self.table(name, f'slack_file = "{self.files}/{name}.url"')

    def mail(self, name, scheme, port, login=True, trusted=True):
        lines = [
            f'smtp = "{scheme}://127.0.0.1:{port}"',
            'from = "Thornwall <thornwall@shop.example>"',
            'to = ["on-call@shop.example", "Night <night@shop.example>"]',
        ]
        if login:
            lines += ['user = "thornwall"', f'password_file = "{self.files}/password"']
        if trusted:
            lines += [f'ca_file = "{self.files}/ca.pem"']
        return self.table(name, "\n".join(lines))

    def until(self, holds):
        deadline = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def counted(self, sidecar, alert, outcome):
        name = "thornwall_sidecar_alert_messages_total"
        return sidecar.metrics()[f'{name}{{alert="{alert}",outcome="{outcome}"}}']

    def dead(self, sidecar):
        file = Path(sidecar.folder.name) / "data" / "alerts.dead.jsonl"
        if not file.exists():
            return []
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        return [json.loads(line) for line in file.read_text().splitlines()]

    def logged(self, sidecar):
        """Ends a sidecar; what it logged, which is no secret."""
        sidecar.child.send_signal(signal.SIGTERM)
        _, logged = sidecar.child.communicate(timeout=PATIENCE)
        for secret in (KEY, PASSWORD, "hush-hush"):
            self.assertNotIn(secret, logged)
        return logged


class Mail(Alerts):
    def arrives(self, server, scheme, login=True):
        sidecar = self.sidecar(self.mail("on-call", scheme, server.port, login=login))
        found = assess(sidecar.calls(), 7, claims=pb.Claims(user_agent=ATTACK))
        envelope, over_tls = server.hear()
        self.assertEqual(over_tls, scheme != "smtp")
        self.assertEqual(envelope.mail_from, "thornwall@shop.example")
        self.assertEqual(envelope.rcpt_tos, ["on-call@shop.example", "night@shop.example"])
        letter = email.message_from_bytes(envelope.content, policy=email.policy.default)
        self.assertEqual(letter.defects, [])
        self.assertIsNone(letter["Bcc"])
        self.assertEqual(letter["Subject"], "[Thornwall] deny 192.0.2.7 at shop: user_agent.scanner")
        self.assertEqual(letter["From"], "Thornwall <thornwall@shop.example>")
        self.assertEqual(letter["Auto-Submitted"], "auto-generated")
        self.assertRegex(letter["Message-ID"], r"^<[0-9a-f-]{36}@shop\.example>$")
        text = letter.get_content()
        for told in (f"user agent: {HARMLESS}", f"case: {found.case_id}", "score: 0.99", "steps: history "):
            self.assertIn(told, text)
        self.until(lambda: self.counted(sidecar, "on-call", "sent") == 1)
        self.logged(sidecar)

    def test_a_mail_goes_over_starttls_with_a_password(self):
        server = self.mail_server(starttls=self.context())
        self.arrives(server, "smtp+starttls")
        self.assertEqual(server.logins, [(b"thornwall", PASSWORD.encode())])

    def test_a_mail_goes_over_implicit_tls_with_a_password(self):
        server = self.mail_server(implicit=self.context())
        self.arrives(server, "smtps")
        self.assertEqual(server.logins, [(b"thornwall", PASSWORD.encode())])

    def test_a_mail_goes_in_clear_text_to_this_machine(self):
        self.arrives(self.mail_server(login=False), "smtp", login=False)

    def test_a_strangers_certificate_and_no_starttls_get_nothing(self):
        stranger = trustme.CA()
        cases = {
            "stranger": ("smtp+starttls", self.mail_server(starttls=self.context(stranger))),
            "implicit": ("smtps", self.mail_server(implicit=self.context(stranger))),
            "plain": ("smtp+starttls", self.mail_server(login=False)),
        }
        tables = [self.mail(name, scheme, server.port) for name, (scheme, server) in cases.items()]
        untrusting = self.mail_server(implicit=self.context())
        tables.append(self.mail("system", "smtps", untrusting.port, trusted=False))
        sidecar = self.sidecar(*tables)
        assess(sidecar.calls(), 7)
        for name in [*cases, "system"]:
            with self.subTest(name):
                self.until(lambda: self.counted(sidecar, name, "failed") >= 1)
        for server in [*(server for _, server in cases.values()), untrusting]:
            self.assertEqual((server.logins, server.letters.qsize()), ([], 0))

    def test_a_wrong_password_is_said_and_given_up(self):
        server = self.mail_server(starttls=self.context())
        self.write("password", "guess")
        sidecar = self.sidecar(self.mail("on-call", "smtp+starttls", server.port))
        assess(sidecar.calls(), 7)
        self.until(lambda: self.dead(sidecar))
        (letter,) = self.dead(sidecar)
        self.assertIn("535", letter["why"])
        self.assertNotIn("guess", self.logged(sidecar))


class Http(Alerts):
    def test_a_webhook_is_signed_and_has_the_predecessors_fields(self):
        hook = self.hook()
        sidecar = self.sidecar(self.webhook("hook", hook.port))
        found = assess(sidecar.calls(), 7, claims=pb.Claims(user_agent=ATTACK))
        path, fields, body = hook.hear()
        self.assertEqual(path, "/hush-hush")
        signature = dict(part.split("=", 1) for part in fields["x-thornwall-signature"].split(","))
        self.assertLess(abs(time.time() - int(signature["t"])), 60)
        signed = signature["t"].encode() + b"." + body
        expected = hmac.new(KEY.encode(), signed, hashlib.sha256).hexdigest()
        self.assertTrue(hmac.compare_digest(signature["v1"], expected))
        told = json.loads(body)
        self.assertEqual(fields["idempotency-key"], told["id"])
        self.assertEqual(told["alert_type"], "AI_DEFENSE_BLOCK")
        self.assertEqual(told["reason"], "user_agent.scanner")
        self.assertEqual(told["ip_address"], "192.0.2.7")
        self.assertEqual(told["user_agent"], HARMLESS)
        details = told["details"]
        self.assertEqual((details["site"], details["action"]), ("shop", "deny"))
        self.assertEqual(details["case_id"], found.case_id)
        self.assertEqual([step["name"] for step in details["steps"]], ["history", "rules"])
        self.assertTrue(details["decision_until"].endswith("Z"))
        self.logged(sidecar)

    def test_a_webhook_over_tls_is_trusted_by_its_own_authority_alone(self):
        own, stranger = self.hook(tls=self.context()), self.hook(tls=self.context(trustme.CA()))
        trusted = f'ca_file = "{self.files}/ca.pem"'
        tables = [self.webhook("own", own.port, trusted), self.webhook("stranger", stranger.port, trusted)]
        sidecar = self.sidecar("".join(tables).replace("http://", "https://"))
        assess(sidecar.calls(), 7)
        self.assertEqual(json.loads(own.hear()[2])["ip_address"], "192.0.2.7")
        self.until(lambda: self.counted(sidecar, "stranger", "failed") >= 1)
        self.assertTrue(stranger.heard.empty())
        self.assertIn("certificate", self.logged(sidecar))

    def test_a_hangup_takes_other_alerts_over_with_what_waits(self):
        sidecar = self.sidecar(self.webhook("hook", free_port()))
        client = sidecar.calls()
        first = assess(client, 7)
        self.until(lambda: self.counted(sidecar, "hook", "failed") >= 1)
        hook, text = self.hook(), sidecar.config.read_text()
        table = self.webhook("hook", hook.port)
        sidecar.config.write_text(text[: text.index("[[alert]]")] + table)
        sidecar.child.send_signal(signal.SIGHUP)
        self.assertEqual(json.loads(hook.hear()[2])["details"]["case_id"], first.case_id)
        # A file with a mistake changes nothing.
        sidecar.config.write_text(sidecar.config.read_text() + 'least = "high"\n')
        sidecar.child.send_signal(signal.SIGHUP)
        refused = 'thornwall_sidecar_reloads_total{outcome="refused"}'
        self.until(lambda: sidecar.metrics().get(refused) == 1)
        second = assess(client, 8)
        self.assertEqual(json.loads(hook.hear()[2])["details"]["case_id"], second.case_id)

    def test_slack_gets_an_attachment_that_calls_nobody(self):
        hook = self.hook()
        sidecar = self.sidecar(self.slack("channel", hook.port))
        assess(sidecar.calls(), 7, claims=pb.Claims(user_agent=ATTACK))
        _, _, body = hook.hear()
        told = json.loads(body)
        self.assertEqual(told["text"], "deny 192.0.2.7 at shop: user_agent.scanner")
        (attachment,) = told["attachments"]
        self.assertEqual(attachment["color"], "#d00000")
        self.assertIn("&lt;!channel&gt; &amp; \\u{202e}", attachment["text"])
        self.assertNotRegex(body.decode(), "[<>]")
        self.logged(sidecar)

    def test_a_digest_tells_of_many_at_once(self):
        hook = self.hook()
        table = self.webhook("hook", hook.port).replace("digest_secs = 0", "digest_secs = 1")
        sidecar = self.sidecar(table)
        client = sidecar.calls()
        for number in range(1, 31):
            assess(client, number)
        assess(client, 30)
        told = json.loads(hook.hear()[2])
        shown = 1 + len(told["others"])
        self.assertEqual((shown, told["not_shown"], told["repeated"]), (20, 10, 1))

    def test_what_is_refused_for_good_is_a_dead_letter(self):
        hook = self.hook(404)
        sidecar = self.sidecar(self.webhook("hook", hook.port))
        assess(sidecar.calls(), 7)
        self.until(lambda: self.dead(sidecar))
        (letter,) = self.dead(sidecar)
        self.assertEqual((letter["alert"], letter["why"]), ("hook", "answered 404"))
        self.assertEqual(letter["message"]["notices"][0]["ip_address"], "192.0.2.7")
        self.assertEqual(self.counted(sidecar, "hook", "dead"), 1)
        self.assertIn("given up", self.logged(sidecar))
        sidecar.start()
        self.assertEqual(sidecar.metrics()["thornwall_sidecar_alert_dead_letters"], 1)

    def test_what_waits_arrives_after_a_restart(self):
        for how in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(how.name):
                port = free_port()
                sidecar = self.sidecar(self.webhook("hook", port))
                found = assess(sidecar.calls(), 7)
                self.until(lambda: self.counted(sidecar, "hook", "failed") >= 1)
                # Longer than changes wait to be written.
                time.sleep(0.5)
                sidecar.end(how)
                hook = self.hook(port=port)
                sidecar.start()
                told = json.loads(hook.hear()[2])
                self.assertEqual(told["details"]["case_id"], found.case_id)
                self.until(lambda: self.counted(sidecar, "hook", "sent") == 1)


class Trial(Alerts):
    def run_with(self, tables, *more):
        config = self.files / "sidecar.toml"
        config.write_text("".join(tables))
        run = subprocess.run(
            [PROGRAM, "alert-test", "-c", config, *more],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        for secret in (KEY, PASSWORD, "hush-hush"):
            self.assertNotIn(secret, run.stdout + run.stderr)
        return run

    def test_every_alert_is_tried_and_its_end_is_told(self):
        good, bad, server = self.hook(), self.hook(403), self.mail_server(implicit=self.context())
        tables = [
            self.webhook("good", good.port),
            self.webhook("bad", bad.port),
            self.mail("on-call", "smtps", server.port),
        ]
        run = self.run_with(tables)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stdout, "good: sent\nbad: failed: answered 403\non-call: sent\n")
        self.assertEqual(json.loads(good.hear()[2])["alert_type"], "AI_DEFENSE_TEST")
        self.assertIn(b"sidecar.alert_test", server.hear()[0].content)
        run = self.run_with(tables, "good")
        self.assertEqual((run.returncode, run.stdout), (0, "good: sent\n"))
        self.assertEqual(self.run_with(tables, "nobody").returncode, 2)

    def test_a_mail_server_that_says_nothing_is_not_waited_for(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            tables = [
                self.mail(scheme, scheme, silent.getsockname()[1])
                for scheme in ("smtps", "smtp")
            ]
            tables = [table.replace("timeout_secs = 5", "timeout_secs = 1") for table in tables]
            run = self.run_with(tables)
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stdout, "^smtps: failed: .+\nsmtp: failed: .+\n$")

    def test_a_missing_file_is_named_at_its_line(self):
        table = self.webhook("hook", 1).replace(f"{self.files}/key", "nowhere.key")
        run = self.run_with([table])
        self.assertEqual(run.returncode, 2)
        self.assertIn("sidecar.toml:6:15: `alert.secret_file`: ", run.stderr)
        self.assertIn("nowhere.key: No such file", run.stderr)


if __name__ == "__main__":
    unittest.main()
