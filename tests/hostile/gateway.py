"""What stands between the client and the origin: the gateway as it is built, or nginx beside it."""

import json
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/clients"))
from stage import end, program  # noqa: E402

PORT, ADMIN, ORIGIN, PAGE = 8080, 9180, 9100, 9200
# Of a person and of whoever is judged as people are: the pipeline that ships. Raw cases come without it.
BASE = """
[server]
data_dir = "data"
models_dir = "{models}"
[admin]
address = "127.0.0.1:9180"
[access_log]
file = "access.log"
[[listener]]
address = "127.0.0.1:8080"
[[listener]]
address = "127.0.0.1:8443"
tls = true
[[certificate]]
hosts = ["*"]
chain_file = "{folder}/chain.pem"
key_file = "{folder}/key.pem"
[[upstream]]
name = "page"
servers = [{{ address = "127.0.0.1:9200" }}]
[[site]]
name = "page"
hosts = ["person.test"]
upstream = "page"
"""
# A site for every other name.
RAW = """
[[upstream]]
name = "raw"
servers = [{ address = "127.0.0.1:9100" }]
[[site]]
name = "raw"
hosts = ["*"]
upstream = "raw"
pipeline = "open"
[[pipeline]]
name = "open"
"""
# Incomplete heads and bodies are cases by the thousand here, and each is waited for.
HURRY = "[limits]\nheader_timeout_secs = 3\nbody_timeout_secs = 3\n"
NGINX = """
user root;
worker_processes 1;
daemon off;
pid nginx.pid;
error_log error.log warn;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    keepalive_requests 100000;
    {http}
}}
"""
PROXY = """
    log_format told escape=json '{"id":"$request_id","method":"$request_method","status":$status,"ruling":"$upstream_status"}';
    access_log access.log told;
    client_header_timeout 3s; client_body_timeout 3s;
    upstream raw { server 127.0.0.1:9100 max_fails=0; keepalive 32; }
    server {
        listen 127.0.0.1:8080 backlog=4096;
        location / {
            proxy_pass http://raw;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Request-ID $request_id;
            add_header X-Request-ID $request_id always;
        }
    }
"""
# What a person asks for: the path comes back, so that each answer can be told from others.
PAGES = """
    access_log off;
    server {
        listen 127.0.0.1:9200 backlog=4096;
        default_type text/html;
        location = /robots.txt { default_type text/plain; return 200 "User-agent: *\\nAllow: /\\n"; }
        location / { return 200 "<!doctype html><title>Page</title><p>$request_uri</p>"; }
    }
"""


class Server:
    """A process in a folder of its own, below the stage's."""

    def __init__(self, stage, name):
        self.stage, self.name = stage, name
        self.folder = stage.folder / name
        self.folder.mkdir(exist_ok=True)
        self.process = None

    def launch(self, command, *ports):
        self.process = self.stage.start(command, self.name)
        for port in ports:
            self.stage.wait_for(port)
        return self

    def stop(self):
        if self.process is not None:
            end(self.process)
            self.process = None

    __enter__ = lambda self: self  # noqa: E731

    def __exit__(self, *_):
        self.stop()

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def rss_mib(self):
        return self._status("VmRSS:") / 1024

    def peak_mib(self):
        """The most that it ever had."""
        return self._status("VmHWM:") / 1024

    def _status(self, name):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
        return 0

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_secs(self):
        """User and system time of the process, its children left out."""
        words = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def log(self):
        """What it has written about each request."""
        with open(self.folder / "access.log") as lines:
            return [json.loads(line) for line in lines if line.endswith("\n")]


def thornwall(stage, more=RAW, limits=HURRY, name="thornwall"):
    """The gateway: the person's site with the pipeline that ships, and what `more` says."""
    server = Server(stage, name)
    (server.folder / "access.log").unlink(missing_ok=True)
    models = os.environ.get("THORNWALL_MODELS", ROOT / "models")
    config = server.folder / "thornwall.toml"
    config.write_text(BASE.format(models=models, folder=stage.folder) + limits + more)
    return server.launch([program(), "run", "-c", config], PORT)


def nginx(stage, http=PROXY, ports=(PORT,), name="nginx"):
    """nginx, by default as a proxy of the same origin."""
    server = Server(stage, name)
    (server.folder / "access.log").unlink(missing_ok=True)
    (server.folder / "nginx.conf").write_text(NGINX.format(http=http))
    return server.launch(["/usr/sbin/nginx", "-p", server.folder, "-c", "nginx.conf"], *ports)


def pages(stage):
    """What is behind the person's site."""
    return nginx(stage, PAGES, (PAGE,), "pages")
