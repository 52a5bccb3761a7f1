"""Those who send and ask by themselves: webhooks, health checks, Office's look at links, previews."""

from case import case, expect, refused

MANY = 100
HOOKS = {
    "GitHub": "GitHub-Hookshot/8a1d2f3",
    "Stripe": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
    "GitLab": "GitLab/17.0.1-ee",
    "PayPal": "PayPal/AUHD-214.0-58169418",
    "Shopify": "Shopify-Captain-Hook",
    "Mastodon": "http.rb/5.1.1 (Mastodon/4.2.9; +https://mastodon.example/)",
}
# Name, method and path of what asks in turn, again and again.
CHECKS = {
    "Word": ("Microsoft Office Word 2014", ("OPTIONS", "HEAD", "GET"), "documents/file.docx"),
    "Office's existence check": ("Microsoft Office Existence Discovery", ("HEAD",), "documents/file.docx"),
    "kubelet": ("kube-probe/1.30", ("GET",), "health"),
    "UptimeRobot": ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", ("HEAD", "GET"), ""),
    "Amazon's load balancer": ("ELB-HealthChecker/2.0", ("GET",), "health"),
    "WhatsApp": ("WhatsApp/2.24.10.77 A", ("GET",), "articles/1.html"),
    "Slack": ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", ("GET",), "articles/2.html"),
}


def prepare(stage):
    pass


for name, agent in HOOKS.items():
    @case("hooks", f"{MANY} webhooks of {name}")
    def post(at, agent=agent):
        at.run("curl", *again("POST", agent, at.url(at.name), "-d", '{"event":"test"}', "-H", "Content-Type: application/json"))
        taken = list((at.origin / at.name).iterdir())
        expect(len(taken) == MANY, f"{len(taken)} of {MANY} arrived, and all were told to be well")


for name, (agent, methods, path) in CHECKS.items():
    @case("hooks", f"{MANY} looks of {name}")
    def look(at, agent=agent, methods=methods, path=path):
        for method in methods:
            words = ["-I"] if method == "HEAD" else []
            at.run("curl", *again(method, agent, at.url(path), *words, many=MANY // len(methods)))


@refused("hooks", "a webhook, and changes by PUT, PATCH and DELETE")
def refused_hook(at):
    (at.origin / at.name).mkdir()
    with at.untouched(at.name):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            at.fails("curl", "-fsS", "-X", method, "-A", HOOKS["Stripe"], "-d", "{}", at.url(at.name))
            at.fails("curl", "-fsS", "--http1.1", "-X", method, "-A", HOOKS["Stripe"], "-d", "{}", at.url(at.name))
        at.fails("curl", "-fsS", "-I", at.url(at.name))
        at.fails("curl", "-fsS", "-X", "OPTIONS", at.url(at.name))


def again(method, agent, url, *words, many=MANY):
    """One curl that asks so often over one connection, and fails with the first that fails."""
    given = ["-sS", "--fail-early"]
    for number in range(many):
        given += ["--next"] * bool(number) + ["-fsS", "-o", "/dev/null", "-X", method, "-A", agent, *words, url]
    return given
