"""A test authority and what it signed, made anew for each run of the benchmark."""

import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rig.host import WORK, RigError, installed

# The name that clients of the benchmark ask for.
SERVER_NAME = "bench.example"
# How OpenSSL is asked for each kind of key.
KEYS = {
    "ecdsa": ("ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "rsa": ("rsa:2048",),
}
FOLDER = WORK / "certificates"


@dataclass(frozen=True)
class Certificate:
    """PEM files of a leaf, of its key, and of the authority that signed it."""

    chain: Path
    key: Path
    authority: Path


@cache
def authority():
    """The authority of this run: its certificate and its key."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    certificate, key = FOLDER / "authority.pem", FOLDER / "authority.key"
    _openssl("ecdsa", certificate, key, "/CN=bench authority")
    return certificate, key


@cache
def made(kind):
    """A certificate for clients of the benchmark, with a key of this kind."""
    signer, signer_key = authority()
    chain, key = FOLDER / f"{kind}.pem", FOLDER / f"{kind}.key"
    names = f"DNS:{SERVER_NAME},DNS:localhost,IP:127.0.0.1"
    _openssl(
        *(kind, chain, key, f"/CN={SERVER_NAME}"),
        *("-CA", str(signer), "-CAkey", str(signer_key)),
        *("-addext", f"subjectAltName={names}", "-addext", "basicConstraints=CA:FALSE"),
    )
    return Certificate(chain, key, signer)


def _openssl(kind, certificate, key, subject, *more):
    command = [
        *(installed("openssl"), "req", "-x509", "-newkey", *KEYS[kind], "-noenc", "-days", "30"),
        *("-subj", subject, "-keyout", str(key), "-out", str(certificate), *more),
    ]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        raise RigError(f"openssl failed:\n{done.stdout}")
