"""Makes of the contract what it may have been before, and what it may become: `versions.py newer|older FILE`.

Both only do what the contract says may happen to it: fields, values, messages and calls are added.
"""

import re
import sys

# By the line that opens a block: what a later version has in it.
ADDED = {
    "service Escalation {": "rpc Ping(Hello) returns (Welcome);",
    "message Case {": "string ja4 = 100; repeated Hint hints = 101;",
    "message Claims {": "map<string, string> hints = 100;",
    "message Request {": "uint32 status = 100;",
    "message Hello {": "string version = 100; repeated Action actions = 101;",
    "message Welcome {": "string version = 100; Hint hint = 101;",
    "message Assessment {": "Hint hint = 100;",
    "message Decision {": "Hint hint = 100;",
    "message Withdrawal {": "Hint hint = 100;",
    "enum Action {": "ACTION_CHALLENGE = 100;",
    "enum Label {": "LABEL_NEWER = 100;",
    "  enum Truth {": "TRUTH_PAID = 100;",
    "message GatewayMessage {\n  oneof message {": "Hint hint = 100;",
    "message SidecarMessage {\n  oneof message {": "Hint hint = 100;",
}
HINT = "\nmessage Hint { string text = 1; }\n"

# What an earlier version may have done without.
MISSING = {
    "Case": ("shape", "claims", "request_ids"),
    "Request": ("parameters", "score"),
    "Hello": ("sidecar", "after"),
    "Assessment": ("steps", "made_ms"),
    "Decision": ("evidence", "request_ids", "by_operator", "note"),
    "Withdrawal": ("by_operator",),
    "GatewayMessage": ("outcome",),
}


def newer(text):
    for opening, added in ADDED.items():
        if opening + "\n" not in text:
            raise SystemExit(f"versions.py: the contract has no {opening!r}")
        text = text.replace(opening + "\n", f"{opening}\n{added}\n", 1)
    # The first value of an enum has to be its 0.
    text = re.sub(r"(enum \w+ \{\n)(\w+ = 100;)\n([^}]*)\}", r"\1\3\2\n}", text)
    return text + HINT


def older(text):
    for message, fields in MISSING.items():
        begin = text.index(f"message {message} {{")
        end = text.index("\n}", begin)
        block = text[begin:end]
        for field in fields:
            block, found = re.subn(rf"\n[^\n/]* {field} = \d+;", "", block)
            if found != 1:
                raise SystemExit(f"versions.py: {message} has no field {field}")
        text = text[:begin] + block + text[end:]
    return text


if __name__ == "__main__":
    _, version, file = sys.argv
    with open(file) as contract:
        print({"newer": newer, "older": older}[version](contract.read()))
