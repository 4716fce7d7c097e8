"""What `record` and `replay` share: how cases are read and their contexts made, and how an image is
described in text.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Times from here on are those of the build itself.
NOW = 1_767_225_600
FIRST_TIME = 1_500_000_000
IMPLIED_TIME = 1_400_000_000
COMPRESSORS = {
    "tar": ["cat"],
    "tar.gz": ["gzip", "-n"],
    "tar.bz2": ["bzip2"],
    "tar.xz": ["xz"],
    "tar.zst": ["zstd", "-q"],
}


def parse(text):
    """Returns the cases of a topic: name, options, and sections by name."""
    shared, case, section = {}, None, None
    cases = []
    for line in text.splitlines():
        if line.startswith("### "):
            case = {"name": line[4:], "options": [], "differs": None, "sections": {}}
            cases.append(case)
            section = case["sections"].setdefault("Dockerfile", [])
        elif line.startswith("--- "):
            sections = shared if case is None else case["sections"]
            section = sections.setdefault(line[4:], [])
        elif case is not None and line.startswith("options: ") and section == []:
            case["options"] = line.removeprefix("options: ").split()
        elif case is not None and line.startswith("differs: ") and section == []:
            case["differs"] = line.removeprefix("differs: ")
        elif section is not None:
            section.append(line)
    for case in cases:
        case["sections"] = {**shared, **case["sections"]}
    return cases


def unescape(text):
    return text.replace("\\n", "\n").replace("\\0", "\0").replace("\\\\", "\\").encode()


def content(text):
    if text == "@busybox":
        return Path(shutil.which("busybox")).read_bytes()
    return unescape(text)


def entries(lines):
    """Returns what the lines of a sketch say: kind, mode, owner, path and the rest."""
    found = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        # What is in an archive is written below it, indented.
        if line.startswith("    "):
            found[-1]["inner"].append(line.removeprefix("    "))
            continue
        words = line.split(" ")
        kind = words.pop(0)
        mode = int(words.pop(0), 8) if kind in ("file", "dir", "fifo", "socket") else 0o777
        owner = (0, 0)
        if ":" in words[0] and words[0].replace(":", "").isdigit():
            uid, gid = words.pop(0).split(":")
            owner = (int(uid), int(gid))
        path, rest = words.pop(0).replace("\\s", " "), " ".join(words)
        time = FIRST_TIME + len(found)
        found.append({"kind": kind, "mode": mode, "owner": owner, "path": path, "rest": rest, "time": time, "inner": []})
    return found


def make_tar(lines):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for entry in entries(lines):
            info = tarfile.TarInfo(entry["path"])
            info.mode, info.mtime = entry["mode"], entry["time"]
            info.uid, info.gid = entry["owner"]
            data = b""
            if entry["kind"] == "file":
                data = content(entry["rest"])
                info.size = len(data)
            elif entry["kind"] == "dir":
                info.type = tarfile.DIRTYPE
            else:
                kinds = {"link": tarfile.SYMTYPE, "hard": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE}
                info.type = kinds[entry["kind"]]
                info.linkname = entry["rest"]
            if entry["kind"] == "hard":
                first = tar.getmember(info.linkname)
                info.mode, info.mtime, info.uid, info.gid = first.mode, first.mtime, first.uid, first.gid
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make_context(root, sections):
    """Makes the directory that a case is built of."""
    times = {}
    for entry in entries(sections.get("context", [])):
        path = root / entry["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = entry["kind"]
        if kind == "dir":
            path.mkdir(exist_ok=True)
        elif kind == "link":
            path.symlink_to(entry["rest"])
        elif kind == "hard":
            os.link(root / entry["rest"], path)
        elif kind == "fifo":
            os.mkfifo(path)
        elif kind in COMPRESSORS:
            packed = subprocess.run(COMPRESSORS[kind], input=make_tar(entry["inner"]), stdout=subprocess.PIPE, check=True)
            path.write_bytes(packed.stdout)
            entry["mode"] = 0o644
        else:
            path.write_bytes(content(entry["rest"]))
        if kind not in ("link", "hard"):
            path.chmod(entry["mode"])
        times[path] = entry["time"]
    for name, lines in sections.items():
        if name != "context":
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "\n".join(lines).strip("\n") + "\n"
            path.write_text(text)
            path.chmod(0o644)
            # Different texts have different times: see `record`.
            times[path] = IMPLIED_TIME + zlib.crc32(text.encode()) % 10_000_000
    for directory, directories, files in os.walk(root):
        for name in [*directories, *files, "."]:
            path = Path(directory) / name
            time = times.get(path, IMPLIED_TIME)
            os.utime(path, (time, time), follow_symlinks=False)


def read_blob(layout, descriptor):
    return (layout / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()


def read_image(layout, digest):
    """Returns the config and the tree of an image."""
    manifest = json.loads(read_blob(layout, {"digest": digest}))
    config = json.loads(read_blob(layout, manifest["config"]))
    tree = {}
    for layer in manifest["layers"] or []:
        apply(tree, read_blob(layout, layer))
    return config, tree


def remove(tree, path, keep=()):
    for old in [old for old in tree if (old == path or old.startswith(f"{path}/")) and old not in keep]:
        del tree[old]


def apply(tree, layer):
    """Applies a layer to a tree: a dictionary of paths; the names of one file share their value."""
    new = set()
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        for member in tar:
            path = member.name.strip("/")
            directory, name = os.path.split(path)
            if name.startswith(".wh."):
                assert name != ".wh..wh..opq", "BuildKit writes none of these for overlayfs"
                remove(tree, os.path.join(directory, name[4:]), new)
                continue
            if path in ("", "."):
                continue
            new.add(path)
            if not member.isdir():
                remove(tree, path, new - {path})
            if member.islnk():
                tree[path] = tree[member.linkname.strip("/")]
                continue
            xattrs = sorted(
                (key.removeprefix("SCHILY.xattr."), value)
                for key, value in member.pax_headers.items()
                if key.startswith("SCHILY.xattr.")
            )
            data = tar.extractfile(member).read() if member.isreg() else member.linkname.encode()
            kinds = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "fifo", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block"}
            tree[path] = {
                "kind": kinds.get(member.type, "file"),
                "mode": member.mode,
                "owner": (member.uid, member.gid),
                "time": "now" if member.mtime >= NOW else f"@{int(member.mtime)}",
                "data": data,
                "xattrs": xattrs,
            }


def shown(data):
    """Text as it is, escaped; what is long or no text, as size and digest."""
    if len(data) <= 160:
        try:
            text = data.decode()
            if all(letter == "\n" or letter.isprintable() for letter in text):
                return text.replace("\\", "\\\\").replace("\n", "\\n")
        except UnicodeDecodeError:
            pass
    return f"<{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()}>"


def listing(tree, base, touched):
    """Yields a line for each path that is not as in the base.

    Of what has nothing new but the time of the build, or is in `touched`, it says no more.
    """
    names = {}
    for path in sorted(tree):
        names.setdefault(id(tree[path]), path)
    base_names = {}
    for path in sorted(base):
        base_names.setdefault(id(base[path]), path)
    for path in sorted({*tree, *base}):
        if path not in tree:
            if os.path.dirname(path) in tree or "/" not in path:
                yield f"gone {path}"
            continue
        entry = tree[path]
        first = names[id(entry)]
        old = base.get(path)
        written = path.replace(" ", "\\s")
        if old and {**old, "time": entry["time"]} == entry and first == base_names[id(old)]:
            if path in touched or (old != entry and entry["time"] == "now"):
                yield f"touched {path}"
                continue
            if old == entry:
                continue
        if first != path:
            yield f"hard {written} {first}"
            continue
        mode = "" if entry["kind"] == "link" else f" {entry['mode']:o}"
        owner = "{}:{}".format(*entry["owner"])
        rest = f" {shown(entry['data'])}" if entry["data"] else ""
        yield f"{entry['kind']}{mode} {owner} {entry['time']} {written}{rest}"
        for name, value in entry["xattrs"]:
            yield f"xattr {written} {name} {value}"


def describe(image, base, touched=()):
    config, tree = image
    base_config, base_tree = base
    run, base_run = config.get("config", {}), base_config.get("config", {})
    for key in ("architecture", "os", "variant", "author"):
        if config.get(key) != base_config.get(key):
            yield f"{key}: {json.dumps(config.get(key))}"
    for key in sorted({*run, *base_run}):
        if run.get(key) != base_run.get(key):
            yield f"{key}: {json.dumps(run.get(key), sort_keys=True, ensure_ascii=False)}"
    n_layers = len(config["rootfs"]["diff_ids"] or [])
    n_base = len(base_config["rootfs"]["diff_ids"])
    yield f"layers: {n_layers}"
    history = config.get("history") or []
    base_history = base_config.get("history", [])
    if history[: len(base_history)] == base_history:
        history = history[len(base_history) :]
        yield "history: on base"
    for entry in history:
        sign = "-" if entry.get("empty_layer") else "+"
        yield f"{sign} {entry.get('created_by', '')}".replace("\n", "\\n")
    # A tree that was not built on the base is compared with nothing.
    is_on_base = config["rootfs"]["diff_ids"][:n_base] == base_config["rootfs"]["diff_ids"] if n_layers else False
    yield from listing(tree, base_tree if is_on_base else {}, touched)
