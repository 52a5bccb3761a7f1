"""What stands beside the recording: which versions of which clients were recorded, and how much of each."""

import collections
import importlib.metadata
import json
import subprocess

PACKAGES = ["chromium", "firefox-esr", "webkit2gtk-driver", "lynx", "w3m", "links2", "elinks", "newsboat", "rss2email",
            "curl", "wget", "httrack", "libwww-perl", "nginx", "tinyproxy-bin"]
LIBRARIES = ["aiohttp", "curl-cffi", "feedparser", "httpx", "requests", "scrapy", "selenium"]


def about(records):
    families = collections.defaultdict(lambda: {"label": "", "clients": set(), "runs": set(), "requests": 0})
    for record in records:
        family = families[record["family"]]
        family["label"] = record["label"]
        family["clients"].add(record["client"])
        family["runs"].add(record["run"])
        family["requests"] += 1
    for family in families.values():
        family["clients"] = sorted(family["clients"])
        family["runs"] = len(family["runs"])
    return json.dumps({"versions": versions(), "families": dict(sorted(families.items()))}, indent=1) + "\n"


def versions():
    listed = subprocess.run(["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES], capture_output=True, text=True)
    found = dict(line.split(" ") for line in listed.stdout.splitlines() if line.count(" ") == 1)
    found |= {name: importlib.metadata.version(name) for name in LIBRARIES}
    found["node"] = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    found["python"] = ".".join(map(str, __import__("sys").version_info[:3]))
    return dict(sorted(found.items()))
