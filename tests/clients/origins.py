"""The servers behind the gateway: those of others as they come, and two of our own for what they lack.

Each keeps its data below the stage's folder `origin`.
"""

import shutil
import sys

from stage import ROOT

# By site: the port, and whether it is spoken to in HTTP/2.
PORTS = {
    "files": (9001, "1"),
    "dav": (9002, "1"),
    "git": (9003, "1"),
    "share": (9010, "1"),
    "restic": (9011, "1"),
    "calendar": (9012, "1"),
    "images": (9013, "1"),
    "calls": (9014, "2"),
    "sockets": (9015, "1"),
    "hooks": (9016, "1"),
}
NGINX = """
user {user};
worker_processes 1;
daemon off;
pid nginx.pid;
error_log nginx-error.log warn;
events {{ worker_connections 512; }}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path nginx-body;
    proxy_temp_path nginx-1; fastcgi_temp_path nginx-2; uwsgi_temp_path nginx-3; scgi_temp_path nginx-4;
    client_max_body_size 0;
    keepalive_requests 10000;
    server {{
        listen 127.0.0.1:9001;
        root origin/files;
        location /npm/ {{
            types {{ application/gzip tgz; }}
            default_type application/json;
        }}
    }}
    server {{
        listen 127.0.0.1:9002;
        root origin/dav;
        location / {{ dav_methods PUT DELETE MKCOL; create_full_put_path on; }}
    }}
    server {{
        listen 127.0.0.1:9003;
        root origin/git;
        location ~ ^/smart(/.*)$ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME {git};
            fastcgi_param GIT_PROJECT_ROOT {folder}/origin/git;
            fastcgi_param GIT_HTTP_EXPORT_ALL 1;
            fastcgi_param PATH_INFO $1;
            fastcgi_pass unix:fcgi.sock;
        }}
    }}
}}
"""
REGISTRY = """
version: 0.1
log: {{ level: error }}
storage: {{ filesystem: {{ rootdirectory: {folder}/origin/images }} }}
http: {{ addr: "127.0.0.1:9013", secret: only-for-tests }}
"""


def folder(stage, name):
    made = stage.folder / "origin" / name
    made.mkdir(parents=True, exist_ok=True)
    return made


def start(stage, sites):
    """Starts what is behind these sites, and waits until it listens."""
    for site in sites:
        stage.site(site, *PORTS[site])
        folder(stage, site)
    if {"files", "dav", "git"} & set(sites):
        nginx(stage)
    for site in set(sites) & set(BY_ITSELF):
        stage.start(BY_ITSELF[site](stage), site, env={**ENV, "HOME": str(stage.folder)})
    for site in sites:
        stage.wait_for(PORTS[site][0])


def nginx(stage):
    core = shutil.which("git-http-backend") or "/usr/lib/git-core/git-http-backend"
    (stage.folder / "nginx-body").mkdir()
    text = NGINX.format(folder=stage.folder, git=core, user="root")
    (stage.folder / "nginx.conf").write_text(text)
    stage.start(["fcgiwrap", "-c", "3", "-s", f"unix:{stage.folder}/fcgi.sock"], "fcgiwrap",
                env={**ENV, "HOME": str(stage.folder)})
    stage.start(["/usr/sbin/nginx", "-p", stage.folder, "-c", "nginx.conf"], "nginx")


def rclone(kind, site, *more):
    return lambda stage: [
        "rclone", "serve", kind, folder(stage, site), "--addr", f"127.0.0.1:{PORTS[site][0]}", *more]


def ours(name, *more):
    return lambda stage: [sys.executable, "-B", ROOT / "tests/clients/servers.py", name, stage.folder, *more]


def registry(stage):
    text = REGISTRY.format(folder=stage.folder)
    (stage.folder / "registry.yml").write_text(text)
    return ["docker-registry", "serve", stage.folder / "registry.yml"]


def radicale(stage):
    return [sys.executable, "-m", "radicale", "--server-hosts", "127.0.0.1:9012", "--auth-type", "none",
            "--rights-type", "from_file", "--rights-file", everybody(stage),
            "--storage-filesystem-folder", folder(stage, "calendar")]


def everybody(stage):
    """Who may what in Radicale: all of it, since its log-in is not what is looked at."""
    rights = stage.folder / "rights"
    rights.write_text("[all]\nuser: .*\ncollection: .*\npermissions: RrWw\n")
    return rights


ENV = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
BY_ITSELF = {
    "share": rclone("webdav", "share"),
    "restic": rclone("restic", "restic"),
    "calendar": radicale,
    "images": registry,
    "calls": ours("calls", "9014"),
    "sockets": ours("sockets", "9015"),
    "hooks": ours("hooks", "9016"),
}
