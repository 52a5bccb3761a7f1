"""The conductor: starts the site and the target, lets every client visit, writes what was seen.

    run                       the site itself is the target; writes recording.jsonl.gz
    run --gateway             a gateway stands before the site; prints how each client fared
    run --only firefox,curl   only the clients whose name or family begins so; writes to target/lab

Exit code 1: a person or a feed reader was harmed. 2: the lab could not do its work.
"""

import argparse
import asyncio
import concurrent.futures
import fcntl
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import threading
import time
import traceback

import gateway
import outcomes
import plan
import recording
import versions
from forwarder import Forwarder
from processes import Processes

HERE = pathlib.Path(__file__).resolve().parent
WORK = HERE.parents[1] / "target" / "lab"
RUN_SECS = 45
# Before a gateway, most small clients wait in a tarpit: many at a time, and not for long.
GATEWAY_RUN_SECS = {True: 40, False: 20}
SMALL_CLIENTS = {False: 3, True: 8}
# What a machine's language is: drawn for every run alike, so that it tells nothing of the label.
LANGUAGES = ["en_US.UTF-8", "en_US.UTF-8", "en_GB.UTF-8", "de_DE.UTF-8", "pt_BR.UTF-8", "ja_JP.UTF-8", "C.UTF-8"]
SOURCES = ["127.77.0.0/16", "127.78.0.0/16"]
LAB_SECS = 11 * 60
SITE_PORT = 9011


def main():
    args = arguments()
    began = time.monotonic()
    WORK.mkdir(parents=True, exist_ok=True)
    alone = open(WORK / "lock", "w")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError("another lab is running here") from None
    work = WORK / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    prepare_namespace(work)
    env = environment(work)
    site = subprocess.run([sys.executable, "-B", HERE / "site", "start", "--port", str(SITE_PORT), "--dir", work / "site"],
                          stdout=subprocess.DEVNULL)
    if site.returncode != 0:
        sys.exit(2)
    own = Processes(env, work)
    try:
        target = start_target(args, own, work)
        pages = [page["path"] for page in json.loads((work / "site/root/pages.json").read_text())]
        planned = [run for run in plan.runs(pages, args.seed) if chosen(run, args.only)]
        write_hosts(work, len(planned))
        start_display(own, env)
        finished = conduct(planned, target, args, env, work, began + LAB_SECS)
    finally:
        own.end_all()
        subprocess.run([sys.executable, "-B", HERE / "site", "stop", "--dir", work / "site"])
    report(args, finished, time.monotonic() - began)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", nargs="?", const="", metavar="CONFIG",
                        help="put target/release/thornwall before the site, with the pipelines of CONFIG (etc/thornwall.toml)")
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--shots", action="store_true", help="keep screenshots of what people see in target/lab/shots")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def chosen(run, only):
    return not only or run.client.startswith(only) or run.family.startswith(only)


def prepare_namespace(work):
    """Loopback up, and the lab's names in /etc/hosts; both are seen by the lab alone."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    # WebKit resolves names only for address families that a non-loopback address stands for.
    subprocess.run(["ip", "address", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    (work / "hosts").write_text("127.0.0.1 localhost\n")
    subprocess.run(["mount", "--bind", work / "hosts", "/etc/hosts"], check=True)


def write_hosts(work, count):
    """Each run's site has a name and an address of its own: the ports stay the usual ones."""
    with open(work / "hosts", "a") as hosts:
        hosts.writelines(f"{listening(n)} s{n}.lab.test\n" for n in range(count))


def listening(number):
    return f"127.66.{number // 200}.{number % 200 + 1}"


def source(number):
    """Where a run connects from: a network of its own, so that no client answers for its neighbours."""
    return f"127.{77 + number // 250}.{number % 250}.7"


def environment(work):
    """The environment of every client, and the authority that they take certificates from."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True, "cwd": work}
    key = ["-newkey", "rsa:2048", "-nodes", "-days", "30"]
    subprocess.run(["openssl", "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=lab"], **quiet)
    subprocess.run(["openssl", "req", *key[:-2], "-keyout", "site.key", "-out", "site.csr", "-subj", "/CN=site.lab.test"], **quiet)
    (work / "names").write_text("subjectAltName=DNS:*.lab.test\n")
    subprocess.run(["openssl", "x509", "-req", "-in", "site.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                    "-days", "30", "-extfile", "names", "-out", "site.pem"], **quiet)
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    authority = str(work / "ca.pem")
    return {**kept, "SSL_CERT_FILE": authority, "NODE_EXTRA_CA_CERTS": authority, "CURL_CA_BUNDLE": authority,
            "PERL_LWP_SSL_CA_FILE": authority, "MOZ_DISABLE_CONTENT_SANDBOX": "1",
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1", "LIBGL_ALWAYS_SOFTWARE": "1", "NO_AT_BRIDGE": "1"}


def tls_context(work):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(work / "site.pem", work / "site.key")
    context.set_alpn_protocols(["http/1.1"])
    return context


def start_target(args, own, work):
    if args.gateway is None:
        return ("127.0.0.1", SITE_PORT)
    return gateway.start(args.gateway, own, work, f"127.0.0.1:{SITE_PORT}", SOURCES)


def start_display(own, env):
    """A display for headful browsers: the first that is free, which Xvfb says when it is ready."""
    told, tells = os.pipe()
    own.start(["Xvfb", "-displayfd", tells, "-screen", "0", "1600x1200x24", "-nolisten", "tcp", "-ac"], pass_fds=[tells])
    os.close(tells)
    with open(told) as answer:
        number = answer.readline().strip()
    if not number:
        raise OSError(f"Xvfb did not start: {(own.folder / 'Xvfb.log').read_text()[-500:]}")
    env["DISPLAY"] = f":{number}"


def conduct(planned, target, args, env, work, deadline):
    """Two browsers and a few small clients at a time; answers each run with its exchanges."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    tls = tls_context(work)
    finished = []

    def visit(number, run):
        finished.append((run, *one_visit(number, run, target, args, env, work, tls, loop, deadline)))

    small = SMALL_CLIENTS[args.gateway is not None]
    pools = {True: concurrent.futures.ThreadPoolExecutor(2), False: concurrent.futures.ThreadPoolExecutor(small)}
    waiting = [pools[run.heavy].submit(visit, number, run) for number, run in enumerate(planned)]
    for done in concurrent.futures.as_completed(waiting):
        done.result()
        if sys.stderr.isatty():
            print(f"\r{len(finished)} of {len(planned)} visits", end="", file=sys.stderr)
    return finished


def one_visit(number, run, target, args, env, work, tls, loop, deadline):
    """Answers the exchanges, when the visit ended, and what went wrong, if something did."""
    if time.monotonic() > deadline:
        return [], time.monotonic(), "no time was left"
    folder = work / f"run{number:03}"
    folder.mkdir()
    scheme, port = ("https", 443) if run.secure else ("http", 80)
    run.base, run.name = f"{scheme}://s{number}.lab.test", f"{run.client}-{scheme}"
    run.shots = shots_folder() if args.shots else None
    line = Forwarder(target, source(number), tls if run.secure else None, args.gateway is not None)
    ask = lambda task: asyncio.run_coroutine_threadsafe(task, loop).result(20)  # noqa: E731
    ask(line.open(listening(number), port))
    own = {"HOME": str(folder), "TMPDIR": str(folder), "LANG": run.rng.choice(LANGUAGES)}
    processes = Processes({**env, **own}, folder)
    longest = RUN_SECS if args.gateway is None else GATEWAY_RUN_SECS[run.heavy]
    limit = threading.Timer(min(longest, max(1, deadline - time.monotonic())), processes.end_all)
    limit.start()
    problem = None
    try:
        run.drive(run, processes)
    except Exception as failure:  # one client's trouble must not end the lab: it is reported
        problem = f"{type(failure).__name__}: {failure}"[:300]
    finally:
        limit.cancel()
        processes.end_all()
        ended = time.monotonic()
        ask(line.close())
    if args.verbose:
        print(f"{run.name}: {len(line.exchanges)} requests {problem or ''}", flush=True)
    return line.exchanges, ended, problem


def shots_folder():
    folder = WORK / "shots"
    folder.mkdir(exist_ok=True)
    return folder


def report(args, finished, took):
    for run, exchanges, _, problem in finished:
        if problem:
            print(f"{run.name}: {problem}", file=sys.stderr)
    silent = sorted({run.name for run, exchanges, _, _ in finished if not exchanges})
    if silent:
        print(f"sent nothing: {', '.join(silent)}", file=sys.stderr)
    harmed = outcomes.table(finished)
    print(f"{len(finished)} visits in {took:.0f} s")
    if args.gateway is None:
        whole = not args.only
        path = HERE / "recording.jsonl.gz" if whole else WORK / "recording.jsonl.gz"
        records = recording.lines([(run, exchanges) for run, exchanges, _, _ in finished], args.seed)
        recording.write(path, records)
        path.with_name("recording.meta.json").write_text(versions.about(records))
        print(f"{len(records)} requests in {path} ({path.stat().st_size // 1024} KiB)")
    sys.exit(2 if silent else 1 if harmed else 0)


if __name__ == "__main__":
    try:
        main()
    except Exception:  # 1 is kept for harm
        traceback.print_exc()
        sys.exit(2)
