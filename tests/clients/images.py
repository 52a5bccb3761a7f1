"""skopeo at a real registry of images: pushes one of many layers, and pulls it again."""

import hashlib
import json
import os

from case import case, expect, refused

LAYERS = 40


def prepare(stage):
    pass


@case("images", f"skopeo pushes an image of {LAYERS} layers and pulls it")
def image(at):
    layout(at)
    name = f"docker://{at.host}/{at.name}:v1"
    at.run("skopeo", "--insecure-policy", "copy", "-q", "oci:image:v1", name)
    at.run("skopeo", "--insecure-policy", "inspect", name)
    at.run("skopeo", "--insecure-policy", "copy", "-q", name, "dir:got")
    expect(len(list((at.home / "got").iterdir())) >= LAYERS, "layers are missing")


@refused("images", "skopeo or curl pushes an image and looks for it")
def image_refused(at):
    if at.way == "held":
        # Told to come again later (429), skopeo tries for a minute before it gives up: curl says the same.
        return held(at)
    layout(at)
    name = f"docker://{at.host}/{at.name}:v1"
    with at.untouched("docker/registry/v2/repositories", at.name):
        at.fails("skopeo", "--insecure-policy", "copy", "-q", "--retry-times", "0", "oci:image:v1", name)
    at.fails("skopeo", "--insecure-policy", "inspect", name)


def held(at):
    """What a client of the registry asks first (distribution-spec, push and pull)."""
    repository = at.url(f"v2/{at.name}")
    with at.untouched("docker/registry/v2/repositories", at.name):
        at.fails("curl", "-fsS", at.url("v2/"))
        at.fails("curl", "-fsS", "-X", "POST", f"{repository}/blobs/uploads/")
        at.fails("curl", "-fsS", "-I", f"{repository}/manifests/v1")
        at.fails("curl", "-fsS", "-T", at.given("manifest", "{}"), f"{repository}/manifests/v1")


def layout(at):
    """An OCI image layout (image-spec, image-layout.md) with layers that nothing has seen before."""
    def blob(data):
        digest = hashlib.sha256(data).hexdigest()
        at.given(f"image/blobs/sha256/{digest}", data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    kind = "application/vnd.oci.image."
    layers = [{"mediaType": kind + "layer.v1.tar", **blob(os.urandom(2000))} for _ in range(LAYERS)]
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {
        "type": "layers", "diff_ids": [layer["digest"] for layer in layers]}})
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind + "manifest.v1+json", "layers": layers,
        "config": {"mediaType": kind + "config.v1+json", **blob(config.encode())}})
    entry = {"mediaType": kind + "manifest.v1+json", **blob(manifest.encode()),
        "annotations": {"org.opencontainers.image.ref.name": "v1"}}
    at.given("image/index.json", json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    at.given("image/oci-layout", '{"imageLayoutVersion":"1.0.0"}')
