"""Tables of cases: TOML below `tables/`, with a compact rule for what is alike.

`send` is bytes, each character one (U+00FF is the byte 255). `{name}` in it stands for each value of `name` in
the rule's `with`, all combinations of them: a list of texts, `"all"` for every byte, `"0-31"` for some, or
`{ repeat = "a", times = 5000 }`, where `{n}` is the turn. `{token}` is the case's own word. `cut = true` sends it in two pieces, cut
at each byte in turn.
"""

import dataclasses
import itertools
import pathlib
import tomllib

HERE = pathlib.Path(__file__).resolve().parent / "tables"


@dataclasses.dataclass
class Table:
    name: str
    kind: str
    what: str
    data: dict


@dataclasses.dataclass(slots=True)
class Case:
    name: str
    # In pieces, each sent on its own.
    pieces: list
    token: str
    rule: dict

    @property
    def sent(self):
        return b"".join(self.pieces)


def tables():
    for file in sorted(HERE.glob("*.toml")):
        data = tomllib.loads(file.read_text())
        yield Table(file.stem, data["kind"], data["what"], data)


def cases(table, smoke, key="case"):
    """The cases of a table, numbered; for `smoke` so many of them, spread evenly."""
    found = list(itertools.chain.from_iterable(_expand(rule) for rule in table.data[key]))
    if smoke and len(found) > table.data.get("smoke", 100):
        step = len(found) / table.data.get("smoke", 100)
        found = [found[int(number * step)] for number in range(table.data.get("smoke", 100))]
    for number, (name, text, rule, cut) in enumerate(found):
        token = f"t{number:06x}z"
        sent = text.replace("{token}", token).encode("latin-1")
        pieces = [sent] if cut is None else [sent[:cut], sent[cut:]]
        yield Case(name, pieces, token, rule)


def _expand(rule):
    names = list(rule.get("with", {}))
    choices = [list(values(rule["with"][name])) for name in names]
    for chosen in itertools.product(*choices):
        text = rule["send"]
        told = []
        for name, value in zip(names, chosen):
            text = text.replace("{" + name + "}", value)
            told.append(f"{name}={value[:24].encode('latin-1')!r}"[: 40].replace("=b'", "='"))
        name = rule["name"] + (f" [{', '.join(told)}]" if told else "")
        if not rule.get("cut"):
            yield name, text, rule, None
            continue
        for cut in range(1, len(text.replace("{token}", "t000000z"))):
            yield f"{name} [cut at {cut}]", text, rule, cut


def values(given):
    if given == "all":
        return [chr(byte) for byte in range(256)]
    if isinstance(given, str):
        first, _, last = given.partition("-")
        return [chr(byte) for byte in range(int(first), int(last or first) + 1)]
    return [repeated(one) if isinstance(one, dict) else one for one in given]


def repeated(rule):
    return "".join(rule["repeat"].replace("{n}", str(number)) for number in range(rule["times"]))
