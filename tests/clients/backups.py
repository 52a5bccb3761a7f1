"""Backups and shares: restic at a REST server, rclone at WebDAV.

restic gives the name of Go's library, so that it needs a path that is made for programs.
"""

import os

from case import case, content, expect, refused

FILES = 60


def prepare(stage):
    pass


@case("restic", "restic makes a repository below /api/, backs up and restores")
def backup(at):
    files(at)
    env = secret(at, "api/")
    at.run("restic", "init", env=env)
    at.run("restic", "backup", "data", env=env)
    at.run("restic", "check", env=env)
    at.run("restic", "restore", "latest", "--target", "back", env=env)
    restored = content(at.home / "back/data")
    expect(restored == content(at.home / "data"), "what was restored is not what was backed up")


@case("restic", "restic anywhere: a repository, or an error")
def backup_anywhere(at):
    ended = at._run(("restic", "init"), env=secret(at))
    expect(ended.returncode or (at.origin / at.name / "config").exists(), "a repository was swallowed")


@refused("restic", "restic init and restic snapshots")
def backup_refused(at):
    env = secret(at)
    with at.untouched(at.name):
        at.fails("restic", "init", env=env)
        at.fails("restic", "snapshots", env=env)


def secret(at, below=""):
    return {"RESTIC_REPOSITORY": f"rest:{at.url(below + at.name)}/", "RESTIC_PASSWORD": "only for tests",
            "RESTIC_CACHE_DIR": str(at.home / "cache"), "RESTIC_PROGRESS_FPS": "0"}


@case("share", f"rclone copies {FILES} files to WebDAV, checks them and deletes one")
def share(at):
    files(at)
    env = remote(at)
    at.run("rclone", "copy", "data", f"r:{at.name}", env=env)
    at.run("rclone", "check", "data", f"r:{at.name}", env=env)
    expect(content(at.origin / at.name) == content(at.home / "data"), "the files did not arrive")
    at.run("rclone", "deletefile", f"r:{at.name}/file-0", env=env)
    expect(not (at.origin / at.name / "file-0").exists(), "the deleted file is still there")


@refused("share", "rclone copy, delete and list")
def share_refused(at):
    files(at)
    env = {**remote(at), "RCLONE_RETRIES": "1", "RCLONE_LOW_LEVEL_RETRIES": "1"}
    (at.origin / at.name).mkdir()
    (at.origin / at.name / "kept").write_text("kept")
    with at.untouched(at.name):
        at.fails("rclone", "copyto", "data/file-0", f"r:{at.name}/file-0", env=env)
        at.fails("rclone", "deletefile", f"r:{at.name}/kept", env=env)
        at.fails("rclone", "lsf", f"r:{at.name}", env=env)


def remote(at):
    return {"RCLONE_CONFIG": str(at.home / "rclone.conf"), "RCLONE_CONFIG_R_TYPE": "webdav",
            "RCLONE_CONFIG_R_URL": at.url(), "RCLONE_CONFIG_R_VENDOR": "other"}


def files(at):
    for number in range(FILES):
        at.given(f"data/file-{number}", os.urandom(3000))
