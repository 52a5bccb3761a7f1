"""The kinds of clients: what each is, which family and label it has, and how it is driven."""

import dataclasses
import functools
import json
import pathlib
import sys
import time
import typing

import disguises
import person
import terminal
import webdriver

HERE = pathlib.Path(__file__).resolve().parent
READING_SECS = 10
CRAWL_SECS = 20


@dataclasses.dataclass
class Kind:
    """One kind of client. `drive(run, processes)` visits the site at `run.base` and returns."""

    client: str
    family: str
    label: str
    drive: typing.Callable
    heavy: bool = False
    repeats: int = 1


# --- people, with graphical browsers ---------------------------------------------------------------

def reading(start):
    """A person reading in the browser that `start(processes, rng)` starts."""
    def drive(run, processes):
        browser = start(processes, run.rng)
        try:
            person.read(browser, run, time.monotonic() + READING_SECS)
        finally:
            browser.close()
    return drive


def chromium(name, flags=(), **more):
    start = functools.partial(webdriver.chromium, flags=flags, **more)
    return Kind(f"chromium-{name}", "chromium-person", "person", reading(start), heavy=True)


def firefox(name, **more):
    start = functools.partial(webdriver.firefox, **more)
    return Kind(f"firefox-{name}", "firefox-person", "person", reading(start), heavy=True)


def webkit(name, args=()):
    start = functools.partial(webdriver.webkit, args=args)
    return Kind(f"webkit-{name}", "webkit-person", "person", reading(start), heavy=True)


def behind_proxy(client, family, start):
    """A person whose office or library sends all traffic through a proxy, which adds and drops fields."""
    def through(processes, rng):
        port = webdriver.free_port()
        (processes.folder / "proxy.conf").write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 50\nViaProxyName \"proxy\"\n")
        processes.start(["tinyproxy", "-d", "-c", "proxy.conf"])
        webdriver.wait_for_port(f"http://127.0.0.1:{port}").close()
        return start(processes, rng, port)
    return Kind(client, family, "person", reading(through), heavy=True)


def firefox_by_proxy(processes, rng, port):
    way = {"network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": port,
           "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": port}
    return webdriver.firefox(processes, rng, prefs=way)


def chromium_by_proxy(processes, rng, port):
    return webdriver.chromium(processes, rng, flags=[f"--proxy-server=127.0.0.1:{port}"])


IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15"
ANDROID = {
    "deviceMetrics": {"width": 412, "height": 915, "pixelRatio": 2.6, "mobile": True, "touch": True},
    "userAgent": "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36",
    "clientHints": {"platform": "Android", "mobile": True},
}
GRAPHICAL = [
    chromium("plain", ["--window-size=1280,900"]),
    chromium("german", ["--window-size=1600,1000"], prefs={"intl.selected_languages": "de-DE,de,en-US,en", "intl.accept_languages": "de-DE,de,en-US,en"}),
    chromium("french-zoomed", ["--force-device-scale-factor=1.5"], prefs={"intl.selected_languages": "fr,en", "intl.accept_languages": "fr,en"}),
    chromium("incognito", ["--incognito"]),
    chromium("android", mobile=ANDROID),
    chromium("do-not-track", ["--window-size=1024,700"], prefs={"enable_do_not_track": True}),
    chromium("no-script", prefs={"profile.default_content_setting_values.javascript": 2}),
    chromium("no-images", prefs={"profile.default_content_setting_values.images": 2}),
    chromium("no-referrer", ["--no-referrers"]),
    firefox("plain"),
    firefox("headless", headless=True),
    firefox("private", prefs={"browser.privatebrowsing.autostart": True}),
    firefox("spanish", prefs={"intl.accept_languages": "es-ES,es;q=0.8,en-US;q=0.5,en;q=0.3"}),
    firefox("no-referrer", prefs={"network.http.sendRefererHeader": 0, "privacy.globalprivacycontrol.enabled": True}),
    firefox("resists-fingerprinting", prefs={"privacy.resistFingerprinting": True, "privacy.resistFingerprinting.letterboxing": True}),
    firefox("strict", prefs={"privacy.donottrackheader.enabled": True, "privacy.globalprivacycontrol.enabled": True, "browser.contentblocking.category": "strict"}),
    firefox("no-script-no-images", prefs={"javascript.enabled": False, "permissions.default.image": 2}),
    webkit("plain"),
    webkit("private", ["--private"]),
    webkit("as-iphone", [f"--user-agent={IPHONE}"]),
    webkit("as-mac", [f"--user-agent={MAC}"]),
    behind_proxy("firefox-behind-proxy", "firefox-person", firefox_by_proxy),
    behind_proxy("chromium-behind-proxy", "chromium-person", chromium_by_proxy),
]


# --- people, with text browsers ---------------------------------------------------------------------

def text_browser(name, *arguments, client=None):
    def drive(run, processes):
        terminal.read(processes, name, [name, *arguments], run, time.monotonic() + READING_SECS)
    return Kind(client or name, "text-browser", "person", drive, repeats=2)


def lynx_of(language):
    """Lynx with its language set in its configuration file, as its users set it."""
    def drive(run, processes):
        (processes.folder / "lynx.cfg").write_text(f"INCLUDE:/etc/lynx/lynx.cfg\nPREFERRED_LANGUAGE:{language}\n")
        terminal.read(processes, "lynx", ["lynx", "-cfg=lynx.cfg"], run, time.monotonic() + READING_SECS)
    return Kind("lynx-configured", "text-browser", "person", drive)


TEXT = [
    text_browser("lynx", "-accept_all_cookies"),
    text_browser("w3m"),
    text_browser("w3m", "-o", "accept_language=de;q=1.0, en;q=0.5", client="w3m-german"),
    lynx_of("fr, en;q=0.5"),
    text_browser("links2", "-ssl.certificates", "0"),
    text_browser("elinks", "-no-home", "1", "-eval", "set connection.ssl.cert_verify = 0"),
]


# --- feed readers -----------------------------------------------------------------------------------

FEEDS = ["/feed.xml", "/python.xml", "/handbook.xml", "/reference.xml", "/faq.xml"]


def newsboat(run, processes):
    (processes.folder / "urls").write_text("".join(f"{run.base}{path}\n" for path in run.rng.sample(FEEDS, 4)))
    (processes.folder / "config").write_text("ssl-verifypeer no\n" + run.rng.choice(["", "reload-threads 3\n"]))
    files = ["-u", "urls", "-C", "config", "-c", "cache.db"]
    for _ in range(3):
        processes.run(["newsboat", *files, "-x", "reload"], timeout=CRAWL_SECS)


def rss2email(run, processes):
    files = ["-c", "r2e.cfg", "-d", "r2e.json"]
    processes.run(["r2e", *files, "new", "reader@site.example"])
    for n, path in enumerate(run.rng.sample(FEEDS, 4)):
        processes.run(["r2e", *files, "add", f"feed{n}", run.base + path])
    for _ in range(2):
        processes.run(["r2e", *files, "run", "--no-send"], timeout=CRAWL_SECS)


def feedparser(run, processes):
    python_job(run, processes, "feedparser", paths=run.rng.sample(FEEDS, 4) * 2, pace=0.2)


READERS = [
    Kind("newsboat", "feed-reader", "feed", newsboat, repeats=2),
    Kind("rss2email", "feed-reader", "feed", rss2email),
    Kind("feedparser", "feed-reader", "feed", feedparser),
]


# --- scrapers: command line -------------------------------------------------------------------------

def fields(header_sets, option):
    """A header set as command line options; what names the agent is a header among others."""
    return [word for name, value in (header_sets[0] if header_sets else []) for word in (option, f"{name}: {value}")]


def curl(disguise):
    def drive(run, processes):
        headers = fields(disguises.DISGUISES[disguise](run.rng), "-H")
        links = [run.base + path for path in run.paths[:30]]
        compressed = ["--compressed"] if run.rng.random() < 0.5 else []
        step = run.rng.choice([1, 1, 10])
        for start in range(0, len(links), step):
            processes.run(["curl", "-s", *compressed, *headers, *links[start:start + step]], stdout=-3)
    return Kind(f"curl-{disguise}", "curl", "scraper", drive)


def wget(disguise, *options):
    def drive(run, processes):
        headers = [word.replace("--header ", "--header=") for word in fields(disguises.DISGUISES[disguise](run.rng), "--header")]
        trust = [f"--ca-certificate={processes.env['SSL_CERT_FILE']}"]
        links = [run.base + path for path in run.paths[:30]]
        start = [run.base + "/"] if options else links
        processes.run(["wget", "-q", "-P", "got", "-t", "1", "-T", "15", *trust, *headers, *options, *start], timeout=CRAWL_SECS)
    name = f"wget-{disguise}" + ("-mirror" if options else "")
    return Kind(name, "wget", "scraper", drive)


def httrack(run, processes):
    limits = ["-r2", "-E15", "-c4", "-A0", "-%c20", "-q", "-O", "mirror", "--disable-security-limits"]
    processes.run(["httrack", run.base + "/", *limits], timeout=CRAWL_SECS)


def perl(run, processes):
    for path in run.paths[:15]:
        processes.run(["GET", run.base + path], stdout=-3)


COMMANDS = [
    *[curl(disguise) for disguise in ("default", "agent", "search", "referred", "tutorial", "panel")],
    wget("default"), wget("default", "-r", "-l", "2", "-p"), wget("agent"), wget("agent", "-r", "-l", "2"), wget("tutorial"),
    Kind("httrack", "httrack", "scraper", httrack),
    Kind("lwp-request", "libwww-perl", "scraper", perl),
]


# --- scrapers: libraries ----------------------------------------------------------------------------

def job(run, disguise="default", **more):
    """What a library scraper is told; what the run does not fix is drawn."""
    rng = run.rng
    return json.dumps({
        "base": run.base, "paths": run.paths[:30], "headers": disguises.DISGUISES[disguise](rng),
        "assets": rng.choice(["none", "none", "images", "all"]), "pace": rng.choice([0, 0, 0.1]),
        "parallel": rng.choice([1, 4, 8]), "session": rng.random() < 0.7, "robots": rng.random() < 0.5, **more,
    })


def python_job(run, processes, library, **more):
    processes.run([sys.executable, HERE / "scrape.py", library], job(run, **more), timeout=CRAWL_SECS, name=library)


def python(library, disguise, family=None):
    def drive(run, processes):
        python_job(run, processes, library, disguise=disguise)
    return Kind(f"{library}-{disguise}", family or library, "scraper", drive)


def node(module, disguise):
    def drive(run, processes):
        processes.run(["node", HERE / "scrape.mjs", module], job(run, disguise), timeout=CRAWL_SECS)
    return Kind(f"node-{module}-{disguise}", "node", "scraper", drive)


def impersonator(target):
    def drive(run, processes):
        python_job(run, processes, "curl_cffi", impersonate=target)
    return Kind(f"curl-impersonate-{target}", "curl-impersonate", "scraper", drive)


LIBRARIES = [
    *[python("requests", d, "python-requests") for d in ("default", "agent", "agents", "search", "referred", "tutorial", "panel")],
    *[python("urllib", d, "python-urllib") for d in ("default", "agent", "tutorial")],
    *[python("httpx", d) for d in ("default", "agent", "agents", "tutorial", "panel")],
    *[python("aiohttp", d) for d in ("default", "agent", "agents", "tutorial", "panel")],
    *[python("scrapy", d) for d in ("default", "agent", "agents", "search", "tutorial", "panel")],
    *[node("fetch", d) for d in ("default", "agent", "referred", "tutorial", "panel")],
    *[node("http", d) for d in ("default", "tutorial")],
    *[impersonator(target) for target in ("chrome", "firefox", "safari")],
]


# --- scrapers: browsers that nobody sits at ---------------------------------------------------------

def selenium(name, family, *flags):
    def drive(run, processes):
        quick = [*webdriver.CHROMIUM_FLAGS, f"--user-data-dir={processes.folder}/profile"]
        python_job(run, processes, "selenium", paths=run.paths[:15], flags=[*quick, *flags], pace=0)
    return Kind(name, family, "scraper", drive, heavy=True)


def dump_dom(run, processes):
    for path in run.paths[:4]:
        processes.run(["chromium", *webdriver.CHROMIUM_FLAGS, "--headless=new", "--ignore-certificate-errors",
                       f"--user-data-dir={processes.folder}/profile", "--dump-dom", run.base + path], timeout=10)


def rush(run, processes):
    """A headful browser that goes through all pages without a pause."""
    browser = webdriver.chromium(processes, run.rng)
    try:
        deadline = time.monotonic() + READING_SECS
        for path in run.paths:
            if time.monotonic() > deadline:
                break
            browser.open(run.base + path)
    finally:
        browser.close()


BORROWED = disguises.CHROME_WINDOWS.format(156)
UNATTENDED = [
    selenium("selenium-headless", "chromium-headless", "--headless=new"),
    Kind("chromium-dump-dom", "chromium-headless", "scraper", dump_dom, heavy=True),
    selenium("selenium-headless-disguised", "chromium-automation", "--headless=new", f"--user-agent={BORROWED}"),
    selenium("selenium-headful", "chromium-automation"),
    Kind("webdriver-rush", "chromium-automation", "scraper", rush, heavy=True),
]

KINDS = [*GRAPHICAL, *TEXT, *READERS, *COMMANDS, *LIBRARIES, *UNATTENDED]
