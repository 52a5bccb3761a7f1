"""What becomes of people, of welcome programs and of those who are to be contained, by kind.

Each client has an address of its own and sends 100 requests in a row (people and corpora 64, which is above
where throttling begins), faster than most would: the limits that matter here judge by count. A kind's row tells how many clients were served all they asked for, how many
were ever slowed down (429), and how many were held in the tarpit or refused at any request.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "clients"))
import people  # noqa: E402
from sender import Client, Request, quoted, send  # noqa: E402
from stage import ROOT, Stage  # noqa: E402

HOST = "site.example"
ORIGIN = """
user root;
worker_processes 1;
daemon off;
pid nginx.pid;
error_log nginx-error.log warn;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path nginx-body;
    proxy_temp_path nginx-1; fastcgi_temp_path nginx-2; uwsgi_temp_path nginx-3; scgi_temp_path nginx-4;
    keepalive_requests 100000;
    server {
        listen 127.0.0.1:9000;
        default_type text/html;
        add_header X-From-Origin yes always;
        location = /robots.txt { default_type text/plain; return 200 "User-agent: *\nAllow: /\n"; }
        location / { return 200 "<!doctype html><title>Page</title><p>A page."; }
    }
}
"""
# Tags of the corpus of crawlers, by what is shown; nothing is promised about names from there.
TAGS = {
    "search-engine": "corpus: search engines", "social-preview": "corpus: link previews",
    "feed-reader": "corpus: feed readers", "monitoring": "corpus: monitors", "archiver": "corpus: archives",
    "ai-crawler": "corpus: AI crawlers", "scanner": "corpus: scanners", "http-library": "corpus: libraries on pages",
    "browser-automation": "corpus: automated browsers", "seo": "corpus: SEO robots", "advertising": "corpus: advertising robots",
}
MOST_OF_A_TAG = 40
AT_ONCE = 24
# Most percent of a kind's requests that may be throttled, and least percent of clients to be contained.
MOST_THROTTLED = 2.0
LEAST_CONTAINED = 95.0


def main():
    parser = argparse.ArgumentParser(prog="run", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few of each kind, without corpora; fails where a promise is broken")
    parser.add_argument("--each", action="store_true", help="also says what became of each client that was not served")
    parser.add_argument("--promises", action="store_true", help="fails where a promise is broken")
    given = parser.parse_args()
    groups, clients = gathered(not given.smoke)
    for number, client in enumerate(clients):
        client.address = f"127.{20 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"
    with Stage() as stage:
        start(stage)
        asyncio.run(send_all(clients))
        reasons = why(stage)
    rows = table(clients, groups, reasons)
    show(rows)
    if given.each:
        show_each(clients, reasons)
    if not given.smoke and not given.promises:
        return 0
    broken = promises(rows)
    for line in broken.values():
        print(f"BROKEN  {line}")
    promised = sum(row["group"] != "shown" for row in rows.values())
    print(f"{promised - len(broken)} passed, {len(broken)} failed")
    return 1 if broken else 0


def gathered(whole):
    """The group of each kind, and all clients."""
    groups, clients = {}, []
    for client in people.from_recording(whole):
        groups.setdefault(client.kind, "people")
        clients.append(client)
    known = tomllib.loads((HERE / "kinds.toml").read_text())["program"]
    for program in known:
        groups.setdefault(program["kind"], program["group"])
        for agent in program["agents"] if whole else program["agents"][:3]:
            clients.append(known_client(program, agent, 100))
    if whole:
        corpora = ROOT / "target/harm/corpora/node_modules"
        found = [*people.from_corpus(corpora), *from_corpus(corpora)]
        for client in found:
            groups.setdefault(client.kind, "people" if "browsers of today" in client.kind else "shown")
        clients += found
    return groups, clients


def known_client(program, agent, many):
    fields = [tuple(field.split(": ", 1)) for field in program["fields"]]
    named = [("User-Agent", agent)] if agent else []
    requests = []
    for number in range(many):
        method, path = program["asks"][number % len(program["asks"])].split(" ", 1)
        body = b'{"event":"test"}' if method in ("POST", "PUT", "PROPFIND", "REPORT") else b""
        requests.append(Request(method, quoted(path.replace("{n}", str(number))), named + fields, body))
    return Client(program["kind"], agent, requests, program.get("http", 1), program.get("tls", True))


def from_corpus(corpora):
    """Crawlers by their tags, reading pages with what most of them send."""
    taken = collections.Counter()
    fields = [("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), ("Accept-Encoding", "gzip, deflate")]
    for entry in json.loads((corpora / "crawler-user-agents/crawler-user-agents.json").read_text()):
        kind = next((TAGS[tag] for tag in entry.get("tags", []) if tag in TAGS), None)
        if not kind or not entry.get("instances") or taken[kind] == MOST_OF_A_TAG:
            continue
        taken[kind] += 1
        agent = entry["instances"][0].strip()
        if not agent.isascii():
            continue
        asked = [Request("GET", f"/articles/{number}.html", [("User-Agent", agent), *fields]) for number in range(people.MANY)]
        yield Client(kind, agent, asked)


def start(stage):
    stage.site("site", 9000)
    stage.seat(HOST, "site")
    stage.open()
    (stage.folder / "nginx-body").mkdir()
    (stage.folder / "nginx.conf").write_text(ORIGIN)
    stage.start(["/usr/sbin/nginx", "-p", stage.folder, "-c", "nginx.conf"], "nginx")
    stage.wait_for(9000)
    stage.serve()


async def send_all(clients):
    free = asyncio.Semaphore(AT_ONCE)

    async def one(client):
        async with free:
            await send(client, HOST)

    await asyncio.gather(*(one(client) for client in clients))


def why(stage):
    """For each address, the codes that stood behind what did not reach the origin."""
    found = collections.defaultdict(collections.Counter)
    with open(stage.folder / "access.log") as lines:
        for line in lines:
            told = json.loads(line)
            if told.get("ruling") != "forward" or told["status"] >= 400:
                codes = {signal["reason"] for signal in told.get("signals") or () if signal["weight"] >= 0.1}
                found[told["client"]].update(codes or {told.get("reason") or f"status {told['status']}"})
    return found


def table(clients, groups, reasons):
    rows = {}
    for client in clients:
        row = rows.setdefault(client.kind, {
            "group": groups[client.kind], "tried": 0, "asked": 0, "slowed": 0, "got": [], "why": collections.Counter(),
            **dict.fromkeys(("served", "throttled", "held", "denied", "failed", "at_first"), 0)})
        row["tried"] += 1
        row[client.worst] += 1
        row["asked"] += len(client.outcomes)
        row["slowed"] += client.outcomes.count("throttled")
        row["at_first"] += client.outcomes[:1] in (["held"], ["denied"])
        row["got"].append(client.outcomes.count("served"))
        if client.worst != "served":
            row["why"].update(set(reasons[client.address]))
    return rows


def show(rows):
    print(f"{'kind':<55} {'tried':>5} {'served':>6} {'throttled':>9} {'of asked':>8} {'held':>5} {'refused':>7} {'at first':>8} {'failed':>6}  by what")
    for group in ("people", "welcome", "contain", "shown"):
        print(f"--- {group}")
        for kind, row in rows.items():
            if row["group"] != group:
                continue
            percent = 100 * row["slowed"] / max(1, row["asked"])
            what = ", ".join(f"{code} {count}" for code, count in row["why"].most_common(4))
            print(f"{kind:<55} {row['tried']:>5} {row['served']:>6} {row['throttled']:>9} {percent:>7.1f}% {row['held']:>5}"
                  f" {row['denied']:>7} {row['at_first']:>8} {row['failed']:>6}  {what}")


def show_each(clients, reasons):
    for client in clients:
        if client.worst != "served":
            codes = ", ".join(code for code, _ in reasons[client.address].most_common(4))
            print(f"{client.worst:<9} after {client.outcomes.count('served'):>3}  {client.kind}: {client.name[:100]}  {codes}")


def promises(rows):
    """By kind, what is broken of what the design promises."""
    broken = {}
    for kind, row in rows.items():
        wrong = list(wrongs(row))
        if wrong and row["group"] != "shown":
            broken[kind] = f"{kind}: {'; '.join(wrong)}"
    return broken


def wrongs(row):
    percent = 100 * row["slowed"] / max(1, row["asked"])
    away = row["held"] + row["denied"]
    if row["failed"]:
        yield f"{row['failed']} clients got no answer"
    if row["group"] == "people" and away + row["throttled"]:
        yield f"{away + row['throttled']} of {row['tried']} people were harmed"
    if row["group"] == "welcome" and away:
        yield f"{away} of {row['tried']} programs were held or refused"
    if row["group"] == "welcome" and percent > MOST_THROTTLED:
        yield f"{percent:.1f} % of requests were throttled, {MOST_THROTTLED} % may be"
    if row["group"] == "contain" and 100 * away < LEAST_CONTAINED * row["tried"]:
        yield f"{row['tried'] - away} of {row['tried']} were neither held nor refused"


if __name__ == "__main__":
    sys.exit(main())
