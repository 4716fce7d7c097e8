"""Makes an image of twelve gzip layers, 75,000 files and 1.7 GB, from Debian packages, as an image layout.

usage: big-image.py BASE_TAR LAYOUT

The first layer is BASE_TAR; each of the others holds the files of some packages, fetched by apt and not
configured: an image that has every shape of real files, and that nobody's builder has packed. The layers
are compressed by `gzip -6`, as most images are.
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

GROUPS = [
    "golang-1.19-src golang-golang-x-tools-dev",
    "linux-doc-6.1",
    "libboost1.74-dev",
    "python3-numpy python3-scipy python3-sympy python3-matplotlib",
    "openjdk-17-jre-headless",
    "llvm-14-dev",
    "libwebkit2gtk-4.0-37 libreoffice-core",
    "libstd-rust-dev",
    "node-typescript libnode108",
    "python3-django perl-modules-5.36 perl-doc libperl5.36",
    "vim-runtime emacs-common",
]
# Packages of Debian 12 still name these as directories; in the base they are links into /usr.
MERGED = ["bin", "sbin", "lib", "lib64"]


def digest_of(path):
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def add(blobs, path, media_type):
    """Moves a file among the blobs, and returns its descriptor."""
    digest, size = digest_of(path), path.stat().st_size
    shutil.move(path, blobs / digest.removeprefix("sha256:"))
    return {"mediaType": media_type, "digest": digest, "size": size}


def add_document(blobs, work, media_type, document):
    path = work / "document"
    path.write_text(json.dumps(document))
    return add(blobs, path, media_type)


def tar_of(packages, work):
    """Returns a tar of the files of `packages`, owned by root, sorted."""
    debs, stage, tar = work / "debs", work / "stage", work / "layer.tar"
    debs.mkdir()
    stage.mkdir()
    for name in MERGED:
        (stage / "usr" / name).mkdir(parents=True)
        (stage / name).symlink_to(f"usr/{name}")
    command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *packages.split()]
    subprocess.run(command, cwd=debs, check=True)
    for deb in sorted(debs.iterdir()):
        files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", deb], stdout=subprocess.PIPE)
        unpack = ["tar", "--extract", "--keep-directory-symlink", "--directory", stage]
        subprocess.run(unpack, stdin=files.stdout, check=True)
        if files.wait() != 0:
            sys.exit(f"dpkg-deb cannot read {deb}")
    for name in MERGED:
        (stage / name).unlink()
    owner = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name"]
    subprocess.run(["tar", "--create", "--file", tar, *owner, "--directory", stage, "."], check=True)
    shutil.rmtree(debs)
    shutil.rmtree(stage)
    return tar


def main():
    base, layout = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    layers, diff_ids = [], []
    with tempfile.TemporaryDirectory(dir=layout.parent) as directory:
        work = pathlib.Path(directory)
        for packages in [None, *GROUPS]:
            tar = tar_of(packages, work) if packages else base
            diff_ids.append(digest_of(tar))
            blob = work / "layer"
            with blob.open("wb") as file:
                subprocess.run(["gzip", "-6", "--no-name", "--stdout", tar], stdout=file, check=True)
            if packages:
                tar.unlink()
            layers.append(add(blobs, blob, "application/vnd.oci.image.layer.v1.tar+gzip"))
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        manifest_type = "application/vnd.oci.image.manifest.v1+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": add_document(blobs, work, "application/vnd.oci.image.config.v1+json", config),
            "layers": layers,
        }
        descriptor = add_document(blobs, work, manifest_type, manifest)
    descriptor["annotations"] = {"org.opencontainers.image.ref.name": "big"}
    index = {"schemaVersion": 2, "manifests": [descriptor]}
    (layout / "index.json").write_text(json.dumps(index))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


main()
