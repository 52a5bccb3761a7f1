"""People with browsers: what the lab recorded of them, as it was and as things between may leave it."""

import gzip
import itertools
import json
import pathlib

from sender import Client, Request

HERE = pathlib.Path(__file__).resolve().parent
RECORDING = HERE.parent / "lab/recording.jsonl.gz"
# What proxies, extensions and settings take away.
STRIPPED = {
    "language": ("accept-language",),
    "encoding": ("accept-encoding",),
    "Sec-Fetch": ("sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-user"),
    "hints": ("sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform"),
    "Accept": ("accept",),
    "Referer": ("referer",),
}
SWITCHED = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
ADDED = {"DNT": "1", "Sec-GPC": "1", "Save-Data": "on"}
# Above the 60 at which the throttle's rate begins.
MANY = 64
SMOKE = ("chromium-plain", "chromium-android", "firefox-plain", "firefox-strict", "webkit-plain", "lynx")
TEXT = ("elinks", "links2", "lynx", "lynx-configured", "w3m", "w3m-german")


def recorded():
    """The requests of each recorded person, one run of each client."""
    runs = {}
    with gzip.open(RECORDING, "rt") as lines:
        for line in lines:
            one = json.loads(line)
            if one["label"] == "person":
                runs.setdefault((one["client"], one["secure"]), {}).setdefault(one["run"], []).append(one)
    for (client, secure), found in runs.items():
        yield client, secure, max(found.values(), key=len)


def transformations(whole):
    yield "as recorded", lambda fields: fields
    yield "with DNT, GPC and Save-Data", lambda fields: fields + list(ADDED.items())
    for name, gone in STRIPPED.items():
        yield f"without {name}", without(gone)
    if whole:
        for (one, gone), (other, more) in itertools.combinations(list(STRIPPED.items())[:4], 2):
            yield f"without {one} and {other}", without(gone + more)
    yield "user agent switched", switched(())
    if whole:
        yield "user agent switched, without language", switched(("accept-language",))


def without(gone):
    return lambda fields: [pair for pair in fields if pair[0].lower() not in gone]


def switched(gone):
    def change(fields):
        kept = without(gone)(fields)
        return [(name, SWITCHED if name.lower() == "user-agent" else value) for name, value in kept]
    return change


def from_recording(whole):
    """Clients of the recording under each transformation; text browsers have little to lose."""
    for client, secure, run in recorded():
        text = client in TEXT
        if not whole and (client not in SMOKE or not secure):
            continue
        for name, change in list(transformations(whole))[: None if secure and not text else 1]:
            requests = [
                Request(one["method"], one["path"], change([tuple(pair) for pair in one["headers"]]))
                for one in itertools.islice(itertools.cycle(run), MANY)]
            http = 2 if secure and not text else 1
            yield Client(f"recorded people {name}", client, requests, http, secure)


def from_corpus(corpora):
    """Browsers of today by their names, each asking as its engine asks."""
    for agent in json.loads((corpora / "top-user-agents/src/index.json").read_text()):
        fields = engine(agent)
        if fields:
            yield Client("corpus: browsers of today", agent, page_and_parts(agent, fields, MANY), 2)


def engine(agent):
    """What a browser of this name sends with a navigation: Chromium, Firefox or Safari."""
    if "Firefox/" in agent:
        return [
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("Accept-Language", "en-US,en;q=0.5"), ("Accept-Encoding", "gzip, deflate, br, zstd"),
            ("Upgrade-Insecure-Requests", "1"), ("Priority", "u=0, i")]
    if "Chrome/" in agent:
        version = agent.partition("Chrome/")[2].partition(".")[0]
        brand = next((name for word, name in (("Edg/", "Microsoft Edge"), ("OPR/", "Opera"), ("SamsungBrowser", "Samsung Internet")) if word in agent), "Google Chrome")
        system = next((name for word, name in (("Windows", "Windows"), ("Android", "Android"), ("CrOS", "Chrome OS"), ("Macintosh", "macOS")) if word in agent), "Linux")
        hints = [
            ("sec-ch-ua", f'"Chromium";v="{version}", "{brand}";v="{version}", "Not)A;Brand";v="24"'),
            ("sec-ch-ua-mobile", "?1" if "Mobile" in agent else "?0"), ("sec-ch-ua-platform", f'"{system}"')]
        return [*(hints if int(version) >= 89 else []), ("Upgrade-Insecure-Requests", "1"),
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"),
            ("Accept-Encoding", "gzip, deflate, br, zstd"), ("Accept-Language", "en-US,en;q=0.9"), ("Priority", "u=0, i")]
    if "Safari/" in agent or "AppleWebKit" in agent:
        return [
            ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
            ("Accept-Language", "en-GB,en;q=0.9"), ("Accept-Encoding", "gzip, deflate, br"), ("Priority", "u=0, i")]
    return None


def page_and_parts(agent, fields, many):
    """A page, its pictures, the next page: ten requests a page."""
    fetch = {"document": ("navigate", "same-origin"), "image": ("no-cors", "same-origin")}
    requests = []
    for number in range(many):
        page, part = divmod(number, 10)
        dest = "image" if part else "document"
        own = [(name, value) for name, value in fields if part == 0 or name != "Upgrade-Insecure-Requests"]
        if part:
            own = [(name, "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5" if name == "Accept" else value) for name, value in own]
        referer = f"https://site.example/articles/{page - (part == 0)}.html"
        mode, site = fetch[dest]
        more = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", mode), ("Sec-Fetch-Dest", dest)]
        if number == 0:
            more[0] = ("Sec-Fetch-Site", "none")
        else:
            more.append(("Referer", referer))
        path = f"/images/{page}-{part}.png" if part else f"/articles/{page}.html"
        requests.append(Request("GET", path, [("User-Agent", agent), *own, *more]))
    return requests
