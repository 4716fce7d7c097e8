# shellcheck shell=bash disable=SC2086,SC2154
# One file and one directory of an image of twelve layers are looked at.

prepare() {
    title 'Looking into an image of twelve layers and 75,000 files: one file, one directory'
    note 'the first look reads every layer once; all later ones read a table. crane reads the whole image each time'
    LAYOUT=$(big_layout)
    PATH=$PATH:$CACHE/go
    command -v crane >/dev/null || GOBIN=$CACHE/go go install github.com/google/go-containerregistry/cmd/crane@v0.20.2
    fresh_registry
    IMAGE=$REGISTRY/big:latest
    corten --root "$CASE/pushing" copy "oci:$LAYOUT:big" "docker://$IMAGE"
    rm -rf pushing
    corten --root "$CASE/ours" pull "$IMAGE"
    corten --root "$CASE/ours" cat "$IMAGE" /etc/os-release
}

round() {
    measure 'corten cat, looked at before' corten --root "$CASE/ours" cat "$IMAGE" /etc/os-release
    measure 'corten ls, looked at before' corten --root "$CASE/ours" ls -l "$IMAGE" /usr/bin
    cp --archive ours first
    rm -rf first/layers
    measure 'corten cat, first look' corten --root "$CASE/first" cat "$IMAGE" /etc/os-release
    rm -rf first
    measure 'crane export | tar, one file' bash -c \
        "crane export --insecure $IMAGE - | tar --extract --to-stdout etc/os-release"
}
