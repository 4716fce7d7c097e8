# shellcheck shell=bash
# A COPY of many files.

prepare() {
    title 'COPY of 20,000 files, 87 MB, nothing cached, stored as a compressed image'
    note 'the base is in each store already, unpacked where the contender does not say otherwise'
    note 'buildah stores directories; its push is what compresses them, and the base with them'
    need_stores
    many_files
    need_peers
}

round() {
    round_of_builds
    floor 'tar | gzip -6 of the files' bash -c 'tar --create context/files | gzip -6 >floor'
}
