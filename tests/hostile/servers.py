"""Origins as sites have them, each refusing what is posted before it has read it (`origins/`)."""

import pathlib
import shutil
import sys

import gateway

HERE = pathlib.Path(__file__).resolve().parent / "origins"
PORTS = {"ignoring": 9110, "plain": 9111, "gunicorn": 9112, "threads": 9113, "node": 9114, "nginx": 9115, "php": 9116}
NGINX = """
    access_log off;
    server {
        listen 127.0.0.1:9115 backlog=4096;
        default_type text/plain;
        if ($request_method != GET) { return 401; }
        location / { return 200 $request_uri; }
    }
"""
PHP = """
    access_log off;
    server {
        listen 127.0.0.1:9116 backlog=4096;
        location / {
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME %s;
            fastcgi_request_buffering off;
            fastcgi_pass unix:%s;
        }
    }
"""
FPM = """
[global]
error_log = fpm.log
daemonize = no
[www]
user = root
group = root
listen = %s
pm = static
pm.max_children = 8
"""


def started(stage, ended, name, command, port):
    server = gateway.Server(stage, name)
    ended.callback(server.stop)
    server.launch([str(word) for word in command], port)


def plain(stage, ended):
    started(stage, ended, "plain", [sys.executable, "-B", HERE / "plain.py", PORTS["plain"]], PORTS["plain"])


def gunicorn(name, *more):
    """Its workers of one request each, which close every connection, or its threads, which keep them."""
    def start(stage, ended):
        command = [sys.executable, "-B", "-m", "gunicorn", "--chdir", HERE, "--bind", f"127.0.0.1:{PORTS[name]}", *more, "wsgi:application"]
        started(stage, ended, name, command, PORTS[name])
    return start


def node(stage, ended):
    if not shutil.which("node"):
        raise SystemExit("node is not installed")
    started(stage, ended, "node", ["node", HERE / "node.js", PORTS["node"]], PORTS["node"])


def nginx(stage, ended):
    ended.callback(gateway.nginx(stage, NGINX, (PORTS["nginx"],), "nginx-origin").stop)


def php(stage, ended):
    program = next(iter(sorted(pathlib.Path("/usr/sbin").glob("php-fpm*"))), None)
    if program is None:
        raise SystemExit("php-fpm is not installed")
    front = gateway.Server(stage, "php")
    config = front.folder / "fpm.conf"
    config.write_text(FPM % (front.folder / "fpm.sock"))
    worker = gateway.Server(stage, "fpm")
    ended.callback(worker.stop)
    worker.launch([program, "-F", "-R", "-y", config])
    http = PHP % (HERE / "page.php", front.folder / "fpm.sock")
    ended.callback(gateway.nginx(stage, http, (PORTS["php"],), "php").stop)


START = {
    "plain": plain,
    "gunicorn": gunicorn("gunicorn", "--workers", "4"),
    "threads": gunicorn("threads", "--worker-class", "gthread", "--threads", "32", "--keep-alive", "30"),
    "node": node,
    "nginx": nginx,
    "php": php,
}
