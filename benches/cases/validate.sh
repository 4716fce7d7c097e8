# shellcheck shell=bash disable=SC2154
# A layout of twelve layers is checked: every digest, DiffID, document and entry.

prepare() {
    title 'Validate: a layout of twelve layers, 75,000 files, 1.7 GB'
    note 'no peer checks as much; the floor hashes each blob, and what it decompresses to, with coreutils and gzip'
    LAYOUT=$(big_layout)
}

round() {
    measure 'corten validate' corten --root "$CASE/ours" validate "oci:$LAYOUT"
    floor 'sha256sum, gzip -d | sha256sum' bash -c "
        for blob in $LAYOUT/blobs/sha256/*; do
            sha256sum \$blob
            if gzip --test --quiet \$blob 2>&1; then gzip --decompress --stdout \$blob | sha256sum; fi
        done"
}
