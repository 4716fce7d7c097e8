# shellcheck shell=bash
# A RUN that writes much, and one beside which that is packed.

prepare() {
    title 'RUN that writes 1 GB in 50,000 files, and a RUN that only waits, stored as a compressed image'
    note 'the second step takes two seconds and no processor: the layer of the first is packed meanwhile'
    need_stores
    mkdir context
    printf 'FROM base\nRUN for copy in 0 1 2 3 4 5 6 7; do cp -a /usr /srv/$copy; done\nRUN sleep 2\n' >context/Dockerfile
    need_peers
    note 'each peer is measured once, without a warm-up'
}

round() { round_of_large_builds; }
