"""Compares two directories: paths, types, modes, owners, links, times, attributes and content."""

import hashlib
import os
import stat
import sys


def describe(root, path, links):
    full = os.path.join(root, path)
    info = os.lstat(full)
    kind = stat.S_IFMT(info.st_mode)
    found = {
        "type": stat.filemode(info.st_mode)[0],
        "mode": oct(stat.S_IMODE(info.st_mode)),
        "owner": f"{info.st_uid}:{info.st_gid}",
        "mtime": info.st_mtime_ns,
    }
    try:
        names = sorted(os.listxattr(full, follow_symlinks=False))
        found["xattrs"] = {n: os.getxattr(full, n, follow_symlinks=False) for n in names}
    except OSError:
        found["xattrs"] = {}
    if kind == stat.S_IFLNK:
        found["target"] = os.readlink(full)
    if kind in (stat.S_IFCHR, stat.S_IFBLK):
        found["device"] = info.st_rdev
    if kind == stat.S_IFREG:
        with open(full, "rb") as file:
            found["content"] = hashlib.sha256(file.read()).hexdigest()
        # Hard links: the first path, in order, of the same inode.
        found["same file as"] = links.setdefault(info.st_ino, path)
    return found


def read(root):
    paths = ["."]
    for folder, folders, files in os.walk(root):
        here = os.path.relpath(folder, root)
        paths += [os.path.normpath(os.path.join(here, name)) for name in folders + files]
    links = {}
    return {path: describe(root, path, links) for path in sorted(paths)}


def main():
    first, second = (read(root) for root in sys.argv[1:3])
    differences = [f"only in {sys.argv[1]}: {path}" for path in first.keys() - second.keys()]
    differences += [f"only in {sys.argv[2]}: {path}" for path in second.keys() - first.keys()]
    for path in sorted(first.keys() & second.keys()):
        if first[path] != second[path]:
            for key in first[path]:
                if first[path].get(key) != second[path].get(key):
                    differences.append(f"{path}: {key}: {first[path].get(key)} and {second[path].get(key)}")
    print(f"{len(first)} paths, {len(differences)} differences")
    for difference in differences[:40]:
        print(" ", difference)
    sys.exit(1 if differences else 0)


main()
