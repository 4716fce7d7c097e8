# shellcheck shell=bash
# A COPY of many files, known.

prepare() {
    title 'COPY of 20,000 files, 87 MB, everything cached'
    need_stores
    many_files
    need_buildkit
}

round() { round_of_cached_builds; }
