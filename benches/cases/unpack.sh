# shellcheck shell=bash disable=SC2154
# An image layout becomes a bundle.

prepare() {
    title 'Unpack: Debian from an image layout to a bundle'
    note 'corten verifies the image into its store first, as it does with all it is given; one row has it there'
    need_base
    LAYER=$(find layout/blobs -type f -size +1M)
}

round() {
    measure 'corten unpack oci:' corten --root "$CASE/ours" unpack oci:layout:base ours-bundle
    forget ours ours-bundle
    measure_without_sync 'corten unpack oci:, no sync' corten --root "$CASE/ours" unpack oci:layout:base ours-bundle
    forget ours ours-bundle
    measure 'corten unpack, image in the store' corten --root "$CASE/base-store" unpack base ours-bundle
    forget ours-bundle
    measure 'umoci unpack' umoci unpack --image layout:base theirs-bundle
    forget theirs-bundle
    mkdir plain
    floor 'tar -xzf' tar --extract --gzip --numeric-owner --file "$LAYER" --directory plain
    forget plain
}
