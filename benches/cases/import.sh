# shellcheck shell=bash disable=SC2034,SC2046,SC2154
# A root file system becomes a gzip layer of an image.

prepare() {
    title 'Import (pack): Debian minbase, 170 MB, as an image with a gzip layer'
    note 'corten reads the tar, the others a directory with the same files; one row has tar in front'
    containers_conf
    TAR=$(base_tar)
    mkdir rootfs
    tar --extract --numeric-owner --file "$TAR" --directory rootfs
    SCRATCH="buildah $(storage "$CASE/buildah")"
}

round() {
    measure 'corten import' corten --root "$CASE/ours" import "$TAR" --tag debian
    layer_size 'corten' ours/blobs
    forget ours
    measure_without_sync 'corten import, no sync' corten --root "$CASE/ours" import "$TAR" --tag debian
    forget ours
    measure 'tar | corten import -' bash -c \
        "tar --create --numeric-owner --directory rootfs . | corten --root '$CASE/ours' import - --tag debian"
    forget ours
    umoci init --layout theirs
    umoci new --image theirs:debian
    measure 'umoci insert' umoci insert --image theirs:debian rootfs /
    layer_size 'umoci' theirs/blobs
    forget theirs
    measure 'buildah from, copy, commit' bash -c \
        "id=\$($SCRATCH from scratch) && $SCRATCH copy --quiet \$id rootfs / &&
         $SCRATCH commit --quiet --disable-compression=false --signature-policy policy.json \$id oci:theirs:debian"
    layer_size 'buildah' theirs/blobs
    forget theirs buildah run
    floor 'tar | gzip -6' bash -c 'tar --create --numeric-owner --directory rootfs . | gzip -6 >theirs'
    ((ROUND == 0)) || layer_size 'tar | gzip -6' theirs
    forget theirs
}

# layer_size CONTENDER DIR: notes how large the layer, the largest file, is.
layer_size() {
    note "layer of $1: $(find "$2" -type f -printf '%s\n' | sort -n | tail -n 1 | awk '{ printf "%.1f MB", $1 / 1e6 }')"
}
