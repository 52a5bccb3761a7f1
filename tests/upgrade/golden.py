"""What a version leaves on disks and in the shared store, for tests of later ones: `run --keep COMMIT`.

It is written a long time ahead, since decisions end, and would be gone from a file some time after it was made.
"""

import gzip
import json
import os
import pathlib
import subprocess

import stand
from stand import ROOT, redis, until

FOLDER = ROOT / "tests/golden/stored"
# Seconds: 150 years.
AHEAD = 4_733_640_000
CLOCK = f"""
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {{
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += {AHEAD}L;
    return failed;
}}
"""


def keep(run):
    source, clock = run.stage.folder / "clock.c", run.stage.folder / "clock.so"
    source.write_text(CLOCK)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", clock, source], check=True)
    stand.Process.environment = {"LD_PRELOAD": str(clock)}
    run.begin()
    listed = run.decide_everything()
    until("all of it to be shared", run.a.in_step)
    FOLDER.mkdir(exist_ok=True)
    write("decisions.jsonl", [json.dumps(one, sort_keys=True, ensure_ascii=False) for one in listed.values()])
    write("stream.jsonl", redis("xrange", "default:decisions", "-", "+").splitlines()[2::3])
    keys = redis("--scan", "--pattern", "default:decision:*").splitlines()
    write("keys.jsonl", [json.dumps([key, redis("get", key)], ensure_ascii=False) for key in sorted(keys)])
    for process in (run.a, run.b, run.sidecar):
        process.stop()
    write("cases.jsonl", run.sidecar.cases(run.old))
    pack(run.a.folder / "data/decisions.redb")
    pack(run.sidecar.folder / "data/history.redb")


def write(name, lines):
    (FOLDER / name).write_text("\n".join(lines) + "\n")


def pack(file: pathlib.Path):
    packed = FOLDER / f"{file.name}.gz"
    # Without the time at which it was packed.
    packed.write_bytes(gzip.compress(file.read_bytes(), mtime=0))
    print(f"{packed.relative_to(ROOT)}: {os.path.getsize(file)} bytes, {os.path.getsize(packed)} packed")
