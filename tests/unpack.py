"""Unpacks an OCI archive into a bundle for runc, with the rights that the DaemonSet asks for.

    unpack.py ARCHIVE BUNDLE PLUGIN_DIR CONFIG_DIR

Every digest on the way is checked, and that nothing in the layers has a time or an owner.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile


def main(archive, bundle, plugins, config_dir):
    with tarfile.open(archive) as file:
        files = {it.name: file.extractfile(it).read() for it in file if it.isfile()}

    def blob(descriptor):
        kind, digest = descriptor["digest"].split(":")
        data = files[f"blobs/{kind}/{digest}"]
        assert kind == "sha256" and hashlib.sha256(data).hexdigest() == digest, descriptor
        assert len(data) == descriptor["size"], descriptor
        return data

    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    [top] = json.loads(files["index.json"])["manifests"]
    manifest = json.loads(blob(top))
    config = json.loads(blob(manifest["config"]))
    rootfs = os.path.join(bundle, "rootfs")
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
        data = gzip.decompress(blob(layer))
        assert "sha256:" + hashlib.sha256(data).hexdigest() == diff_id
        with tarfile.open(fileobj=io.BytesIO(data)) as tree:
            for it in tree:
                assert (it.mtime, it.uid, it.gid, it.uname, it.gname) == (0, 0, 0, "", ""), it.name
            tree.extractall(rootfs)

    def mount(at, source, *options):
        return {"destination": at, "type": "bind", "source": source, "options": ["rbind", *options]}

    def pseudo(at, kind, *options):
        return {"destination": at, "type": kind, "source": kind, "options": list(options)}

    nothing = {it: [] for it in ["bounding", "effective", "inheritable", "permitted", "ambient"]}
    command = config["config"]["Entrypoint"] + config["config"]["Cmd"]
    spec = {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": command,
            "env": ["PATH=/", "CHANDLER_HOST_ROOT=/host"],
            "cwd": "/",
            "capabilities": nothing,
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [
            pseudo("/proc", "proc"),
            pseudo("/dev", "tmpfs", "nosuid", "mode=755", "size=64k"),
            pseudo("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            mount("/etc/chandler", config_dir, "ro"),
            mount("/var/lib/kubelet/device-plugins", plugins, "rw"),
            *(mount(f"/host/sys/{it}", f"/sys/{it}", "ro") for it in ["bus", "class", "dev", "devices"]),
            mount("/host/dev", "/dev", "ro"),
        ],
        "linux": {
            # No device but those that every container has.
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "namespaces": [{"type": it} for it in ["pid", "network", "ipc", "uts", "mount"]],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"],
        },
    }
    with open(os.path.join(bundle, "config.json"), "w", encoding="utf-8") as file:
        json.dump(spec, file)


main(*sys.argv[1:])
