# shellcheck shell=bash
# Ten RUN steps on Debian, all known.

prepare() {
    title 'Ten RUN steps on Debian, everything cached'
    need_stores
    ten_steps
    need_buildkit
}

round() { round_of_cached_builds; }
