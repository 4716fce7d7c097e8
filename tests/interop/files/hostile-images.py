"""Writes image layouts that are valid enough to be taken, and hostile to whoever builds on them.

usage: hostile-images.py BUSYBOX DIR: a statically linked busybox, and where the layouts go.
"""

import hashlib
import io
import json
import os
import sys
import tarfile

FILE, LINK, HARD, FIFO, DIR = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE
CHAR, BLOCK = tarfile.CHRTYPE, tarfile.BLKTYPE
OCI = "application/vnd.oci.image."


def tar_of(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            if kind in (LINK, HARD):
                info.linkname, content = content, b""
            elif kind in (CHAR, BLOCK):
                (info.devmajor, info.devminor), content = content, b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def image(name, layers, config=None, **top):
    path = os.path.join(sys.argv[2], name)
    blobs = f"{path}/blobs/sha256"
    os.makedirs(blobs)

    def add(media_type, content):
        digest = hashlib.sha256(content).hexdigest()
        with open(f"{blobs}/{digest}", "wb") as file:
            file.write(content)
        return {"mediaType": OCI + media_type, "digest": f"sha256:{digest}", "size": len(content)}

    added = [add("layer.v1.tar", layer) for layer in layers]
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in added]},
        **top,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI + "manifest.v1+json",
        "config": add("config.v1+json", json.dumps(document).encode()),
        "layers": added,
    }
    index = {"schemaVersion": 2, "manifests": [add("manifest.v1+json", json.dumps(manifest).encode())]}
    for file, text in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index)):
        with open(f"{path}/{file}", "w") as out:
            json.dump(text, out)


with open(sys.argv[1], "rb") as file:
    BUSYBOX = file.read()
# Every command by its name, so that a RUN needs no shell of the machine's.
NAMES = "cat chmod cp echo env id ln ls mkdir mount printf pwd readlink rm seq sh sleep stat test touch true wc".split()
tools = tar_of(
    ("bin", DIR, b""), ("bin/busybox", FILE, BUSYBOX), *((f"bin/{name}", LINK, "busybox") for name in NAMES)
)

# What a builder itself reads or mounts on leads out of the image, or is nothing that it can be.
OUT = "../" * 20 + os.path.abspath(sys.argv[2]) + "/outside"
OWN = ["etc/passwd", "etc/group", "etc/resolv.conf", "etc/hosts", "proc", "dev", "dev/null", "run/secrets"]
for path in OWN:
    name = path.replace("/", "-")
    image(f"{name}-leads-out", [tools, tar_of((path, LINK, OUT))])
    image(f"{name}-leads-nowhere", [tools, tar_of((path, LINK, "/nowhere/at/all"))])
    image(f"{name}-leads-round", [tools, tar_of((path, LINK, "/" + path))])
    image(f"{name}-is-a-pipe", [tools, tar_of((path, FIFO, b""))])
    image(f"{name}-is-a-file", [tools, tar_of((path, FILE, b"x"))])
    image(f"{name}-is-a-directory", [tools, tar_of((path + "/x", FILE, b"x"))])
image("shell-is-a-fifo", [tools, tar_of(("bin/sh", FIFO, b""))])
image("shell-leads-out", [tools, tar_of(("bin/sh", LINK, "../" * 20 + "bin/sh"))])

image("deleted", [tools, tar_of((".wh.bin", FILE, b""), (".wh.etc", FILE, b""))])
image("whiteout-of-nothing", [tools, tar_of((".wh.", FILE, b""))])
image("whiteout-of-the-parent", [tools, tar_of((".wh...", FILE, b""))])
image("emptied", [tools, tar_of((".wh..wh..opq", FILE, b""))])
image("whiteout-out", [tools, tar_of(("../.wh.outside", FILE, b""), ("bin/../../.wh.outside", FILE, b""))])
image("parent-replaced", [tools, tar_of(("d/f", FILE, b"1")), tar_of(("d", LINK, OUT)), tar_of(("d/f", FILE, b"2"))])
image("file-as-parent", [tools, tar_of(("d", FILE, b"1")), tar_of(("d/f", FILE, b"2"))])
image("link-as-root", [tools, tar_of((".", LINK, OUT), ("x", FILE, b"1"))])
image("hard-links", [tools, tar_of(("a", HARD, OUT + "/kept"))])
image("hard-links-absolute", [tools, tar_of(("a", HARD, os.path.abspath(sys.argv[2]) + "/outside/kept"))])
image("hard-link-to-itself", [tools, tar_of(("a", HARD, "a"))])
image("hard-link-to-directory", [tools, tar_of(("a", HARD, "bin"))])
image("hard-link-through-link", [tools, tar_of(("l", LINK, OUT), ("a", HARD, "l/kept"))])
image("devices", [tools, tar_of(("disk", BLOCK, (254, 0)), ("memory", CHAR, (1, 1)), ("zero", CHAR, (1, 5)))])
image("deep", [tools, tar_of(("/".join(["d" * 200] * 300) + "/f", FILE, b"x"))])


def configured(name, config, **top):
    image(name, [tools], config, **top)


configured("user-unknown", {"User": "nobody-of-that-name"})
configured("user-number", {"User": "99999999999999999999"})
configured("user-negative", {"User": "-1:-1"})
configured("user-lines", {"User": "root\nroot:x:0:0"})
configured("user-colons", {"User": ":::"})
configured("workdir-up", {"WorkingDir": "../../.."})
configured("workdir-out", {"WorkingDir": "/../../../../tmp/../../x"})
configured("workdir-relative", {"WorkingDir": "a/b"})
configured("workdir-nul", {"WorkingDir": "/a\0b"})
configured("volumes", {"Volumes": {"../../x": {}, "": {}, "/": {}, "/a\0b": {}, "/proc": {}}})
configured("env-no-equals", {"Env": ["PATH=/bin", "LONE", "=x", "", "A=b=c", "A=d"]})
configured("env-nul", {"Env": ["PATH=/bin", "A=b\0c"]})
configured("env-lines", {"Env": ["PATH=/bin", "A=b\nRUN touch /x"]})
configured("env-giant", {"Env": ["PATH=/bin", "A=" + "x" * (3 << 20)]})
configured("env-many", {"Env": ["PATH=/bin"] + [f"A{n}={n}" for n in range(20000)]})
configured("env-path-empty", {"Env": ["PATH="]})
configured("env-path-relative", {"Env": ["PATH=bin:.:../bin"]})
configured("shell-empty", {"Shell": []})
configured("shell-other", {"Shell": ["/bin/echo", "instead:"]})
configured("stop-signal", {"StopSignal": "SIGNOTHING"})
configured("ports", {"ExposedPorts": {"99999999/tcp": {}, "x": {}, "": {}}})
configured("labels", {"Labels": {"": "", "a": None}})
configured("entrypoint-null", {"Entrypoint": None, "Cmd": None})
configured("types-wrong", {"Env": "PATH=/bin"})
configured("other-platform", {}, os="windows")
configured("no-platform", {}, os="", architecture="")
configured("fewer-layers", {}, rootfs={"type": "layers", "diff_ids": []})
configured("more-layers", {}, rootfs={"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * 9})
configured("other-layers", {}, rootfs={"type": "layers", "diff_ids": ["sha256:" + "0" * 64]})
configured("history-long", {}, history=[{"empty_layer": True, "created_by": "x" * 1000}] * 5000)
configured("history-short-of-layers", {}, history=[{"created_by": "x"}] * 7)
configured("history-odd", {}, history=[{"created": "never", "empty_layer": False}])

for name, triggers in {
    "from": ["FROM scratch"],
    "onbuild": ["ONBUILD RUN true"],
    "maintainer": ["MAINTAINER me"],
    "from-lower": ["from scratch"],
    "two": ["RUN true\nRUN touch /second"],
    "escape": ["RUN true \\\nFROM scratch"],
    "directive": ["# escape=`\nRUN true"],
    "heredoc": ["RUN <<E\necho by-trigger >/x\nE"],
    "heredoc-open": ["RUN <<E\necho"],
    "heredoc-more": ["RUN <<E\ntrue\nE\nFROM scratch"],
    "empty": [""],
    "blank": ["   "],
    "nonsense": ["FLY to the moon"],
    "arg": ["ARG X=by-trigger", "RUN echo $X >/x"],
    "copy-from-stage": ["COPY --from=victim /secret /stolen"],
    "copy-from-number": ["COPY --from=0 /secret /stolen"],
    "copy-from-itself": ["COPY --from=last /x /y"],
    "copy-from-gone": ["COPY --from=gone.invalid/none /x /y"],
    "copy-from-later": ["COPY --from=later /x /y"],
    "mount-from-stage": ["RUN --mount=from=victim,target=/m cat /m/secret >/stolen"],
    "mount-from-number": ["RUN --mount=from=0,target=/m cat /m/secret >/stolen"],
    "mount-secret": ["RUN --mount=type=secret,id=s,required cat /run/secrets/s >/stolen"],
    "mount-context": ["RUN --mount=target=/m ls /m >/seen"],
    "insecure": ["RUN --security=insecure true"],
    "copy-up": ["COPY ../../../../../../etc/passwd /x"],
    "add-url": ["ADD http://127.0.0.1:1/x /x"],
    "user": ["USER 7", "WORKDIR /w", "RUN id -u >x || true"],
    "thousands": ["LABEL a=b"] * 3000,
    "thousands-of-runs": ["RUN true"] * 300,
}.items():
    configured(f"onbuild-{name}", {"OnBuild": triggers})
image("onbuild-null", [tools], {"OnBuild": None})
