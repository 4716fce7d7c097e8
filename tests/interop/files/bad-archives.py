"""Writes archives and image layouts that something is wrong with into a directory."""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

os.chdir(sys.argv[1])


def tar_of(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.SYMTYPE:
                info.linkname, content = content, b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def layout(path, layers, change=lambda blobs, added: None):
    blobs = {}

    def add(media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    oci = "application/vnd.oci.image."
    added = [add(oci + "layer.v1.tar", layer) for layer in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/x"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in added]},
    }
    config = add(oci + "config.v1+json", json.dumps(config).encode())
    manifest = {"schemaVersion": 2, "mediaType": oci + "manifest.v1+json", "config": config, "layers": added}
    manifest = add(manifest["mediaType"], json.dumps(manifest).encode())
    change(blobs, added)
    os.makedirs(f"{path}/blobs/sha256")
    for digest, content in blobs.items():
        write(f"{path}/blobs/sha256/{digest}", content)
    write(f"{path}/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "manifests": [manifest]}
    write(f"{path}/index.json", json.dumps(index).encode())


FILE, LINK = tarfile.REGTYPE, tarfile.SYMTYPE
good = tar_of(("etc/motd", FILE, b"hello" * 5000))

write("dot-dot.tar", tar_of(("../escaped", FILE, b"x")))
write("cut.tar", good[:9000])
write("cut.tar.gz", gzip.compress(os.urandom(20000) + good)[:9000])
write("noise", os.urandom(100000))
# 64 TiB of zeros as a sparse file would have them: a header that names what is not there.
header = tarfile.TarInfo("big")
header.size = 1 << 46
write("huge.tar", header.tobuf(tarfile.GNU_FORMAT) + bytes(4096))


def cut(blobs, added):
    digest = added[0]["digest"].removeprefix("sha256:")
    blobs[digest] = blobs[digest][:-1000]


def changed(blobs, added):
    digest = added[0]["digest"].removeprefix("sha256:")
    blobs[digest] = blobs[digest].replace(b"hello", b"hullo")


layout("changed-layer", [good], changed)
layout("cut-layer", [good], cut)
with tarfile.open("cut-layer.tar", "w") as tar:
    for name in ("oci-layout", "index.json", "blobs"):
        tar.add(f"cut-layer/{name}", name)
here = os.getcwd()
layout(
    "through-link",
    [
        tar_of(("up", LINK, "../../../../../../.." + here), ("abs", LINK, here)),
        tar_of(("up/victim", FILE, b"overwritten"), ("abs/escaped", FILE, b"x")),
    ],
)
