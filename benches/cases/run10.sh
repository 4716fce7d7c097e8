# shellcheck shell=bash
# Ten RUN steps on Debian.

prepare() {
    title 'Ten RUN steps on Debian, nothing cached, stored as a compressed image'
    note 'the base is in each store already, unpacked where the contender does not say otherwise'
    note 'buildah stores directories; its push is what compresses them, and the base with them'
    need_stores
    ten_steps
    need_peers
}

round() { round_of_builds; }
