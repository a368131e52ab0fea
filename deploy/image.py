#!/usr/bin/env python3
"""Writes a container image as an OCI archive, without a container engine.

    image.py ARCHIVE NAME PROGRAM ARCH [PROGRAM ARCH]...

The image holds the static PROGRAM as /usr/bin/chandler and nothing else; with several of them it is
one image for several architectures (amd64, arm64). The same program gives the same bytes: no times,
no owners' names, sorted. NAME is what `ctr images import` and kubelets call it.
"""

import gzip
import hashlib
import io
import json
import sys
import tarfile

# What deploy/Dockerfile says too.
ENTRYPOINT = ["/usr/bin/chandler"]
CMD = ["run"]
LABELS = {
    "org.opencontainers.image.title": "chandler",
    "org.opencontainers.image.description": "Offers a node's hardware to Kubernetes pods",
    "org.opencontainers.image.licenses": "Apache-2.0",
}


def entry(name, size=0, mode=0o644, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.type, info.mtime = size, mode, kind, 0
    return info


def tar(files):
    """A tar of (name, bytes or None for a directory, mode)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data, mode in files:
            if data is None:
                archive.addfile(entry(name, 0, mode, tarfile.DIRTYPE))
            else:
                archive.addfile(entry(name, len(data), mode), io.BytesIO(data))
    return out.getvalue()


def encode(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Archive:
    def __init__(self):
        self.blobs = {}

    def add(self, media_type, data, **more):
        self.blobs[digest(data)] = data
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}

    def image(self, program, arch):
        """Adds one architecture; returns the descriptor of its manifest."""
        with open(program, "rb") as file:
            binary = file.read()
        layer = tar([
            ("usr/", None, 0o755),
            ("usr/bin/", None, 0o755),
            ("usr/bin/chandler", binary, 0o755),
        ])
        config = {
            "architecture": arch,
            "os": "linux",
            "config": {"Entrypoint": ENTRYPOINT, "Cmd": CMD, "Labels": LABELS},
            "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
            "history": [{"created_by": "deploy/image.py"}],
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self.add("application/vnd.oci.image.config.v1+json", encode(config)),
            "layers": [
                self.add(
                    "application/vnd.oci.image.layer.v1.tar+gzip",
                    gzip.compress(layer, 9, mtime=0),
                )
            ],
        }
        return self.add(
            manifest["mediaType"],
            encode(manifest),
            platform={"architecture": arch, "os": "linux"},
        )

    def write(self, path, name, images):
        if len(images) == 1:
            top = dict(images[0])
        else:
            kind = "application/vnd.oci.image.index.v1+json"
            index = {"schemaVersion": 2, "mediaType": kind, "manifests": images}
            top = self.add(kind, encode(index))
        top["annotations"] = {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rsplit(":", 1)[-1],
        }
        files = [
            ("blobs/", None, 0o755),
            ("blobs/sha256/", None, 0o755),
            *((f"blobs/{key.replace(':', '/')}", self.blobs[key], 0o644) for key in sorted(self.blobs)),
            ("index.json", encode({"schemaVersion": 2, "manifests": [top]}), 0o644),
            ("oci-layout", encode({"imageLayoutVersion": "1.0.0"}), 0o644),
        ]
        with open(path, "wb") as file:
            file.write(tar(files))


def main(arguments):
    if len(arguments) < 4 or len(arguments) % 2:
        sys.exit(__doc__)
    path, name, *rest = arguments
    archive = Archive()
    images = [archive.image(program, arch) for program, arch in zip(rest[::2], rest[1::2])]
    archive.write(path, name, images)


if __name__ == "__main__":
    main(sys.argv[1:])
