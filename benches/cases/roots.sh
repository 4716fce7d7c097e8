# shellcheck shell=bash disable=SC2154
# Debian becomes a root file system.

prepare() {
    title 'Ready root: Debian, from a file to a root file system'
    note 'corten, umoci and tar read an image layout, ctr and podman an OCI archive, docker an uncompressed docker archive'
    need_base
    need_archives layout base
    need_daemons
}

round() { round_of_roots layout base; }
