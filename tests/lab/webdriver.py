"""Drives real browsers by the WebDriver protocol: Chromium and WebKitGTK through their drivers, Firefox
through Marionette, which it has built in.

WebDriver sends real input events, so that what a click leads to carries what a person's click does.
It shows in `navigator.webdriver`, which no request carries.
"""

import base64
import json
import pathlib
import socket
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PAGE_DOWN = "\ue00f"
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-extensions",
    # A plain-HTTP site must be asked over plain HTTP.
    "--disable-features=HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,OptimizationHints,MediaRouter",
]
MINI_BROWSERS = "/usr/lib/*/webkit2gtk-4.*/MiniBrowser"


class BrowserFailed(Exception):
    """The browser did not do as it was told."""


class Wire:
    """WebDriver over HTTP, as chromedriver and WebKitWebDriver speak it."""

    def __init__(self, processes, command, capabilities):
        self.address = f"http://127.0.0.1:{free_port()}"
        processes.start([*command, f"--port={self.address.rsplit(':', 1)[1]}"], name="driver")
        wait_for_port(self.address)
        made = self.send("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.session = f"/session/{made['sessionId']}"

    def send(self, method, path, body=None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.address + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=25) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as problem:
            raise BrowserFailed(problem.read().decode("utf-8", "replace")[:300]) from problem
        except OSError as problem:
            raise BrowserFailed(str(problem)) from problem

    def call(self, step, **params):
        method, path = {
            "open": ("POST", "/url"), "back": ("POST", "/back"), "reload": ("POST", "/refresh"),
            "find": ("POST", "/elements"), "click": ("POST", "/element/{id}/click"),
            "type": ("POST", "/element/{id}/value"), "attribute": ("GET", "/element/{id}/attribute/{name}"),
            "timeouts": ("POST", "/timeouts"), "shot": ("GET", "/screenshot"), "end": ("DELETE", ""),
        }[step]
        return self.send(method, self.session + path.format(**params), params)


class Marionette:
    """WebDriver as Firefox speaks it itself: JSON messages with their length before them."""

    NAMES = {
        "open": "WebDriver:Navigate", "back": "WebDriver:Back", "reload": "WebDriver:Refresh",
        "find": "WebDriver:FindElements", "click": "WebDriver:ElementClick", "type": "WebDriver:ElementSendKeys",
        "attribute": "WebDriver:GetElementAttribute", "timeouts": "WebDriver:SetTimeouts",
        "shot": "WebDriver:TakeScreenshot", "end": "Marionette:Quit",
    }

    def __init__(self, port):
        self.link = wait_for_port(f"http://127.0.0.1:{port}")
        self.link.settimeout(25)
        self.stream = self.link.makefile("rb")
        self.count = 0
        self.read()
        self.send("WebDriver:NewSession", {"acceptInsecureCerts": True})

    def read(self):
        length = b""
        while not length.endswith(b":"):
            byte = self.stream.read(1)
            if not byte:
                raise BrowserFailed("firefox closed the connection")
            length += byte
        return json.loads(self.stream.read(int(length[:-1])))

    def send(self, name, params):
        self.count += 1
        message = json.dumps([0, self.count, name, params]).encode()
        try:
            self.link.sendall(b"%d:%s" % (len(message), message))
            while True:
                kind, number, problem, value = self.read()
                if kind == 1 and number == self.count:
                    break
        except OSError as failure:
            raise BrowserFailed(str(failure)) from failure
        if problem:
            raise BrowserFailed(f"{problem.get('error')}: {problem.get('message')}"[:300])
        return value.get("value", value) if isinstance(value, dict) else value

    def call(self, step, **params):
        return self.send(self.NAMES[step], params)


class Browser:
    """What a person does with a browser, over either protocol."""

    def __init__(self, link, rng):
        self.link = link
        self.rng = rng
        self.link.call("timeouts", pageLoad=8000, script=5000, implicit=0)

    def open(self, url):
        self.patient("open", url=url)

    def back(self):
        self.patient("back")

    def reload(self):
        self.patient("reload")

    def patient(self, name, **params):
        """A page that loads for long is looked at as far as it is."""
        try:
            self.link.call(name, **params)
        except BrowserFailed as problem:
            if "timeout" not in str(problem).lower():
                raise

    def find(self, selector):
        return [found[ELEMENT] for found in self.link.call("find", using="css selector", value=selector)]

    def click_link(self, selector="a[href]", accept=lambda href: True):
        """Clicks one of the links that `accept` takes; answers whether there was one to click."""
        found = self.find(selector)
        for element in self.rng.sample(found, min(len(found), 25)):
            try:
                href = self.link.call("attribute", id=element, name="href")
                if href and accept(href):
                    self.patient("click", id=element)
                    return True
            except BrowserFailed:
                continue
        return False

    def type(self, selector, text):
        for element in self.find(selector)[:1]:
            self.link.call("type", id=element, text=text)

    def click(self, selector):
        for element in self.find(selector)[:1]:
            self.patient("click", id=element)

    def scroll(self):
        try:
            self.type("body", PAGE_DOWN)
        except BrowserFailed:
            pass

    def shot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self.link.call("shot")))

    def close(self):
        try:
            self.link.call("end")
        except BrowserFailed:
            pass


def chromium(processes, rng, headless=False, flags=(), prefs=None, mobile=None):
    options = {
        "binary": "/usr/bin/chromium",
        "args": [*CHROMIUM_FLAGS, f"--user-data-dir={processes.folder}/profile", *flags],
        "prefs": prefs or {},
        "excludeSwitches": ["enable-automation"],
    }
    if headless:
        options["args"].append("--headless=new")
    if mobile:
        options["mobileEmulation"] = mobile
    capabilities = {"browserName": "chrome", "acceptInsecureCerts": True, "goog:chromeOptions": options}
    return Browser(Wire(processes, ["/usr/bin/chromedriver"], capabilities), rng)


def webkit(processes, rng, args=()):
    binary = next(iter(sorted(pathlib.Path("/").glob(MINI_BROWSERS.lstrip("/")))), None)
    if binary is None:
        raise BrowserFailed("WebKitGTK's MiniBrowser is not installed")
    options = {"binary": str(binary), "args": ["--automation", *args]}
    capabilities = {"acceptInsecureCerts": True, "webkitgtk:browserOptions": options}
    return Browser(Wire(processes, ["/usr/bin/WebKitWebDriver"], capabilities), rng)


QUIET_FIREFOX = {
    "app.normandy.enabled": False, "app.update.enabled": False, "browser.aboutwelcome.enabled": False,
    "browser.newtabpage.enabled": False, "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False, "browser.safebrowsing.downloads.enabled": False,
    "browser.shell.checkDefaultBrowser": False, "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0, "datareporting.policy.dataSubmissionEnabled": False,
    "datareporting.healthreport.uploadEnabled": False, "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,", "termsofuse.bypassNotification": True, "toolkit.telemetry.enabled": False,
    "toolkit.telemetry.server": "", "browser.region.network.url": "", "browser.search.update": False,
    "network.trr.mode": 5, "dom.security.https_first": False, "dom.security.https_first_pbm": False,
}


def firefox(processes, rng, headless=False, prefs=None, args=()):
    port = free_port()
    profile = processes.folder / "profile"
    profile.mkdir()
    chosen = {**QUIET_FIREFOX, "marionette.port": port, **(prefs or {})}
    (profile / "user.js").write_text("".join(f"user_pref({json.dumps(key)}, {json.dumps(value)});\n" for key, value in chosen.items()))
    command = ["/usr/bin/firefox-esr", "--marionette", "--no-remote", "--profile", profile, *args]
    processes.start([*command, "--headless"] if headless else command)
    return Browser(Marionette(port), rng)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(address, secs=30):
    host, port = address.removeprefix("http://").split(":")
    deadline = time.monotonic() + secs
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=2)
        except OSError as problem:
            if time.monotonic() > deadline:
                raise BrowserFailed(f"nothing listens on {address}") from problem
            time.sleep(0.1)

