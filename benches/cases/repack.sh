# shellcheck shell=bash disable=SC2154
# A bundle that was changed becomes an image.

prepare() {
    title 'Repack: a Debian bundle with a changed file and a new one of 4 MiB'
    note 'both bundles are unpacked before; each round adds a file of its own to both'
    need_base
    corten --root "$CASE/base-store" unpack base ours-bundle
    umoci unpack --image layout:base theirs-bundle
}

round() {
    head --bytes 4M /dev/urandom >new
    local bundle
    for bundle in ours theirs; do
        cp new "$bundle-bundle/rootfs/srv/new"
        echo "$ROUND" >>"$bundle-bundle/rootfs/etc/debian_version"
    done
    measure 'corten repack' corten --root "$CASE/base-store" repack ours-bundle changed
    measure_without_sync 'corten repack, no sync' corten --root "$CASE/base-store" repack ours-bundle again
    measure 'umoci repack' umoci repack --image layout:changed theirs-bundle
}
