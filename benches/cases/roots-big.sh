# shellcheck shell=bash disable=SC2154
# An image of twelve layers becomes a root file system.

prepare() {
    title 'Ready root: twelve layers, 75,000 files, 1.7 GB, from a file to a root file system'
    note 'corten, umoci and tar read an image layout, ctr and podman an OCI archive, docker an uncompressed docker archive'
    LAYOUT=$(big_layout)
    need_archives "$LAYOUT" big
    need_daemons
}

round() { round_of_roots "$LAYOUT" big; }
