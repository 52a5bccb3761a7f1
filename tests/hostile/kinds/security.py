"""SECURITY.md against what it names (tables/security.toml)."""

import pathlib
import re

from result import Result

ROOT = pathlib.Path(__file__).parents[3]
ROW = re.compile(r"^\| (.+) \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w.]+)`")
# A table, and the words of its rows: `floods_h1 "a", "b"`.
QUOTED = re.compile(r"\b([a-z_0-9]+) ((?:\"[^\"]+\"(?:, )?)+)")


async def run(table, scene):
    result = Result()
    text = (ROOT / "SECURITY.md").read_text()
    manual = (ROOT / "etc/thornwall.toml").read_text()
    tests = "\n".join(file.read_text() for file in (ROOT / "tests/tests").rglob("*.rs"))
    modules = {file.stem for file in (ROOT / "tests/tests").rglob("*.rs")}
    for what, _, keys, held in ROW.findall(text):
        if what in ("what", "---"):
            continue
        result.cases += 1
        for key in NAMED.findall(keys):
            last = key.rpartition(".")[2]
            result.require(re.search(rf"\b{last} = ", manual), f"{what}: {key} is no key of etc/thornwall.toml")
        names = NAMED.findall(held)
        for name in names:
            result.require(name in modules or f"fn {name}(" in tests, f"{what}: there is no test {name}")
        quoted = QUOTED.findall(held)
        for name, words in quoted:
            file = ROOT / f"tests/hostile/tables/{name}.toml"
            rows = file.read_text() if file.exists() else ""
            for word in re.findall(r"\"([^\"]+)\"", words):
                result.require(word in rows, f"{what}: there is no row {word!r} in {name}")
        result.require(names or quoted or held == "the same" or "cost.py" in held or held.split()[0] in rows_of(), f"{what}: held by nothing")
    return result


def rows_of():
    return {file.stem for file in (ROOT / "tests/hostile/tables").glob("*.toml")}
