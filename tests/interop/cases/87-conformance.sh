# shellcheck shell=bash disable=SC2154
# What BuildKit made of a few hundred small Dockerfiles, as tests/conformance recorded it.

case_conformance_with_buildkit() {
    need_root
    need busybox bzip2 gzip python3 xz zstd
    "$HERE/../conformance/replay" --corten "$CORTEN"
}
