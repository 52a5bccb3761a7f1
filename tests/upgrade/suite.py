"""From an older version to the one that was built, and back, while people are at the site. Prints what was checked
and what came of it; exit code 1 where anything is not as it was. `suite.py FOLDER [--keep]`: the older commands and their
models; with `--keep` they write what `tests/golden/stored` has, and nothing is checked.
"""

import contextlib
import json
import pathlib
import signal
import subprocess
import sys
import time

import golden
import stand
from stage import Stage
from stand import ACTIONS, HOST, SCANNER, Commands, Failure, Gateway, Sidecar, redis, until

# What a person notices of an upgrade at most, on a machine that does other things besides.
SLOWEST_MS = 5000
# Seconds of people before an upgrade, so that downloads and uploads are on their way, and after it.
BEFORE, AFTER = 3, 4
# What a later version may write into the shared store: an action and a source that neither version here knows.
LATER = {
    "203.0.113.201": {"action": "challenge", "source": "operator"},
    "203.0.113.202": {"action": "deny", "source": "oracle"},
}
# What decisions are treated as.
TREATED = {"deny": "denied", "tarpit": "held", "throttle": "throttled"}
# Of `/limit`, and what a client may get at the other gateway until that knows: a tenth of a second's.
BURST, MOST_MORE = 120, 20
# Read anew by each process, which says anew how long they hold.
READ_ANEW = ("feed:", "predecessor")


class Table:
    def __init__(self):
        self.failed = 0
        self.began = time.monotonic()

    def row(self, what, problem, note=""):
        """A check: what it is about, and what is wrong, if anything."""
        self.failed += bool(problem)
        word = "FAILED" if problem else "passed"
        print(f"{word} {time.monotonic() - self.began:6.1f} s  {what}{': ' if note else ''}{note}", flush=True)
        for line in str(problem).splitlines()[:10] if problem else ():
            print(f"    {line[:600]}", flush=True)


class People:
    """The load, in a process of its own."""

    def __init__(self, gateway):
        self.command = [sys.executable, "-B", stand.HERE / "people.py", str(gateway.port), str(gateway.tls_port)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        return self

    def end(self):
        self.process.send_signal(signal.SIGINT)
        said, _ = self.process.communicate(timeout=60)
        return json.loads(said)

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Run:
    def __init__(self, stage, old, new, table):
        self.stage, self.old, self.new, self.table = stage, old, new, table
        self.a, self.b = Gateway(stage, "a", 0), Gateway(stage, "b", 1)
        self.sidecar = Sidecar(stage)
        self.clients = iter(f"192.0.2.{host}" for host in range(1, 255))
        self.secrets = {}

    def everything(self):
        self.begin()
        listed = self.decide_everything()
        self.upgrade(self.new, listed)
        self.compare("decisions at an old gateway beside a new one", listed, self.b)
        self.case("a new gateway, an old sidecar and an old gateway", self.a, self.b)
        self.replace_sidecar()
        self.case("a new gateway and a new sidecar", self.a, self.b)
        self.case("an old gateway and a new sidecar", self.b, self.a)
        self.side_by_side(self.a, self.b)
        self.side_by_side(self.b, self.a)
        self.limits(self.a, self.b)
        self.limits(self.b, self.a)
        self.from_a_later_version()
        self.upgrade(self.old, self.a.decisions())
        self.go_back()

    def begin(self):
        self.stage.start(["redis-server", "--port", str(stand.REDIS), "--bind", "127.0.0.1", "--save", ""], "redis")
        self.stage.start([sys.executable, "-B", stand.HERE / "origin.py", str(stand.SITE)], "site")
        for port in (stand.REDIS, stand.SITE):
            self.stage.wait_for(port)
        (self.stage.folder / "drop.txt").write_text("198.51.100.7\n198.51.100.128/25\n2001:db8:7::/48\n")
        redis("set", "default:blocklist:ip:192.0.2.254", "1", "ex", "7200", database=2)
        self.sidecar.serve(self.old)
        for gateway in (self.a, self.b):
            gateway.serve(self.old)
        for gateway in (self.a, self.b):
            until(f"{gateway.name} to be in step", gateway.in_step)
            self.secrets[gateway.name] = gateway.secrets()

    def decide_everything(self):
        """Decisions of each source and with each action, at an old gateway."""
        a = self.a
        for action in ACTIONS:
            a.order("block", next(self.clients), "--for", "2h", "--action", action, "--reason", f"é {action}")
            a.order("block", next(self.clients), "--for", "2h", "--action", action, "--site", "shop")
            offender = next(self.clients)
            until("an offender", lambda: a.ask(offender, f"/knock/{action}") and a.decision(offender))
        a.order("block", "198.51.100.64/26", "--for", "7 days")
        a.order("block", "2001:db8:1::/48", "--action", "tarpit")
        let_off = next(self.clients)
        a.order("block", let_off)
        a.order("unblock", let_off)
        for action in ACTIONS:
            self.case_for(action)
        until("the feed", lambda: a.decision("198.51.100.7"))
        until("the predecessor", lambda: a.decision("192.0.2.254"))
        listed = a.decisions()
        found = {(one["source"].split(":")[0], one["action"]) for one in listed.values()}
        wanted = {(source, action) for source in ("operator", "filter", "sidecar") for action in ACTIONS}
        wanted |= {("feed", "deny"), ("predecessor", "deny")}
        self.table.row("every source and action", listing(wanted - found), f"{len(listed)} decisions at an old gateway")
        self.enforced("enforced by an old gateway", a, listed)
        return listed

    def case_for(self, action):
        """Clients that are escalated, until the sidecar's decision is as its new file says."""
        self.sidecar.configure(action)

        def tried():
            client = next(self.clients)
            self.a.ask(client, "/case", fields=SCANNER)
            return self.a.wait_for_decision(client)["action"] == action

        until(f"a sidecar's {action}", tried)

    def upgrade(self, version, listed):
        """People at gateway A while a version takes the place of another one."""
        before = self.a.version
        with People(self.a) as people:
            time.sleep(BEFORE)
            took = self.a.upgrade(version)
            time.sleep(AFTER)
            seen = people.end()
        what = f"{before.name} -> {version.name} under load"
        answered = ", ".join(f"{count} {kind}" for kind, count in seen["done"].items())
        again = ", ".join(f"{count} {kind}" for kind, count in seen["again"].items())
        problem = [f"{count} x {why}" for why, count in seen["failed"].items()]
        if len(seen["done"]) < 7 or min(seen["done"].values()) == 0:
            problem.append("not everybody was served")
        if seen["slowest_ms"] > SLOWEST_MS:
            problem.append("somebody waited too long")
        self.table.row(what, listing(problem), f"{took:.1f} s, slowest {seen['slowest_ms']} ms; {answered}; again: {again}")
        until(f"{what} to be in step", self.a.in_step)
        self.compare(f"{what}: decisions", listed, self.a)
        self.enforced(f"{what}: enforced", self.a, listed)
        self.undamaged(what, self.a)

    def undamaged(self, what, gateway):
        data = gateway.folder / "data"
        aside = [path.name for path in data.iterdir() if "damaged" in path.name]
        log = (self.stage.folder / f"{gateway.name}.log").read_text()
        broken = [line for line in log.splitlines() if "could not be read" in line]
        made_anew = [] if gateway.secrets() == self.secrets[gateway.name] else ["keys or tokens were made anew"]
        self.table.row(f"{what}: data_dir", listing(aside + broken + made_anew), f"{len(list(data.iterdir()))} files, none put aside")

    def compare(self, what, listed, gateway):
        """Each decision, field by field; a list that others keep may be read a moment later."""
        wanted = {key: fields(one) for key, one in listed.items()}
        problem = []

        def alike():
            found = {key: fields(one) for key, one in gateway.decisions().items()}
            problem[:] = [f"{key}: {wanted.get(key)} became {found.get(key)}"
                          for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
            return not problem

        with contextlib.suppress(Failure):
            until("the same decisions", alike)
        self.table.row(what, listing(problem), f"{len(listed)} decisions, alike in every field")

    def enforced(self, what, gateway, listed):
        problem = []
        for key, decision in listed.items():
            here, elsewhere = gateway.treatment(decision)
            if here != TREATED[decision["action"]] or elsewhere not in (None, "served"):
                problem.append(f"{key}: {decision['action']} by {decision['source']}: {here}, elsewhere {elsewhere}")
        if (nobody := gateway.ask("203.0.113.200")) != "served":
            problem.append(f"a person is {nobody}")
        self.table.row(what, listing(problem), f"{len(listed)} clients, and a person is served")

    def case(self, what, gateway, other):
        """A case at one gateway becomes a decision at both."""
        client = next(self.clients)
        problem = ""
        try:
            gateway.ask(client, "/case", fields=SCANNER)
            here, there = gateway.wait_for_decision(client), other.wait_for_decision(client)
            if fields(here) != fields(there) or not here["source"].startswith("sidecar"):
                problem = f"{here} there {there}"
        except Failure as failure:
            problem = failure
        self.table.row(f"a case through {what}", problem)

    def replace_sidecar(self):
        """The new sidecar takes over the old one's folder, goes back and forth, and its history stays."""
        self.sidecar.stop()
        written = self.sidecar.cases(self.old)
        read = self.sidecar.cases(self.new)
        self.table.row("an old sidecar's history, read by a new one", listing(set(written) ^ set(read)), f"{len(read)} cases")
        if not read:
            raise Failure("no case was kept")
        self.serve_sidecar(self.new)

    def serve_sidecar(self, version):
        self.sidecar.serve(version)
        for gateway in (self.a, self.b):
            until(f"{gateway.name} to be connected", lambda: gateway.metric("thornwall_escalation_connected") == 1)

    def side_by_side(self, here, there):
        """What is decided and taken back at one gateway holds at the other."""
        names = f"{here.version.name} -> {there.version.name}"
        problem = []
        for action in ACTIONS:
            ordered, offender = next(self.clients), next(self.clients)
            here.order("block", ordered, "--action", action, "--reason", "side by side")
            until("an offender", lambda: here.ask(offender, f"/knock/{action}") and here.decision(offender))
            for client, site in ((ordered, ()), (offender, ("--site", "shop"))):
                made, found = here.decision(client), there.wait_for_decision(client)
                treated, _ = there.treatment(found)
                if fields(made) != fields(found) or treated != TREATED[action]:
                    problem.append(f"{made} there {found}: {treated}")
                there.order("unblock", client, *site)
                until(f"{client} to be let off", lambda: not here.decision(client))
                # An offence is refused by its filter for as long as that says.
                if (now := here.ask(client)) != "served":
                    problem.append(f"{client} is let off and {now}")
        self.table.row(f"decided {names}, taken back the other way", listing(problem))

    def limits(self, here, there):
        """What a client had at one gateway, it cannot have at the other; nor offend at each a little."""
        names = f"{here.version.name} -> {there.version.name}"
        client = next(self.clients)
        had = sum(here.ask(client, "/limit") == "served" for _ in range(130))
        # Until the other one knows, it serves.
        more = sum(iter(lambda: there.ask(client, "/limit") == "served", False))
        problem = "" if had == BURST and more <= MOST_MORE else "more than one burst"
        self.table.row(f"a limit that is used up {names}", problem, f"{had} and {more} more, of a burst of {BURST}")

        offender = next(self.clients)
        asked = 0

        def offended():
            nonlocal asked
            asked += 1
            gateway = (here, there)[asked % 2]
            return gateway.ask(offender, "/knock/deny") and here.decision(offender) and there.decision(offender)

        try:
            until("a decision on offences at both", offended)
            problem = ""
        except Failure as failure:
            problem = failure
        self.table.row(f"offences at both, {names}", problem, f"decided after {asked} requests at two gateways")

    def from_a_later_version(self):
        """Entries with names that come later are nobody's here, and stay where they are."""
        now = int(time.time() * 1000)
        written = {}
        for subject, names in LATER.items():
            decision = {"subject": subject, "scope": None, "reason": "operator.order", "made_ms": now,
                        "until_ms": now + 3_600_000, **names}
            written[f"default:decision:*:{subject}"] = json.dumps(decision)
        both = (self.a, self.b)
        skipped = [gateway.metric("thornwall_store_shared_skipped") for gateway in both]
        for key, text in written.items():
            redis("set", key, text, "px", "3600000")
            redis("xadd", "default:decisions", "*", "change", json.dumps({"decide": json.loads(text)}))
        # Behind them in the stream, so that they have been read once this holds.
        marker = next(self.clients)
        self.a.order("block", marker)
        problem = []
        for gateway, before in zip(both, skipped, strict=True):
            gateway.wait_for_decision(marker)
            more = gateway.metric("thornwall_store_shared_skipped") - before
            if more < len(LATER):
                problem.append(f"{gateway.version.name}: {more:.0f} of {len(LATER)} were counted as left alone")
            for subject in LATER:
                treated = gateway.ask(subject)
                if gateway.decision(subject) or treated != "served":
                    problem.append(f"{gateway.version.name}: {subject} is {treated}, {gateway.decision(subject)}")
        self.table.row("an action and a source of a later version, left alone by both", listing(problem))
        self.later = written

    def go_back(self):
        """Back to the old commands everywhere; and from disks alone, without the shared store, in both directions."""
        kept = [key for key, text in self.later.items() if redis("get", key) != text]
        self.table.row("what a later version wrote, afterwards", listing(kept), f"{len(self.later)} values as they were")
        self.sidecar.stop()
        written, read = self.sidecar.cases(self.new), self.sidecar.cases(self.old)
        self.table.row("a new sidecar's history, read by an old one", listing(set(written) ^ set(read)), f"{len(read)} cases")
        self.serve_sidecar(self.old)
        self.case("an old gateway and an old sidecar on the new one's history", self.b, self.a)
        listed = self.b.decisions()
        for gateway in (self.a, self.b):
            gateway.stop()
            gateway.configure(stand.ALONE)
        self.b.serve(self.new)
        self.compare("an old data_dir, read by a new gateway", listed, self.b)
        self.enforced("an old data_dir, enforced by a new gateway", self.b, listed)
        self.b.order("block", next(self.clients), "--reason", "by the new one")
        listed = self.b.decisions()
        self.b.stop()
        self.b.serve(self.old)
        self.compare("a new data_dir, read by an old gateway", listed, self.b)
        self.enforced("a new data_dir, enforced by an old gateway", self.b, listed)
        self.undamaged("a new data_dir, read by an old gateway", self.b)


def fields(decision):
    """A decision without what each process that reads a list says anew."""
    if decision and decision["source"].startswith(READ_ANEW):
        return {name: value for name, value in decision.items() if name not in ("made_ms", "until_ms")}
    return decision


def listing(problems):
    return "\n".join(map(str, problems))


def main():
    old, new = Commands.old(pathlib.Path(sys.argv[1])), Commands.new()
    table = Table()
    with Stage() as stage:
        stage.seat(HOST, "site")
        stage.open()
        run = Run(stage, old, new, table)
        try:
            if "--keep" in sys.argv:
                golden.keep(run)
            else:
                run.everything()
        except Exception as broken:
            table.row("the run", f"{type(broken).__name__}: {broken}\n{stage.said()[-3000:]}")
            if not isinstance(broken, (Failure, OSError)):
                raise
    print("nothing was lost" if not table.failed else f"{table.failed} checks failed")
    return 1 if table.failed else 0


if __name__ == "__main__":
    sys.exit(main())
