# shellcheck shell=bash
# A COPY of very many files: what matters is the memory.

prepare() {
    title 'COPY of 100,000 files, 435 MB, nothing cached, stored as a compressed image'
    note 'peak memory is to stay below 64 MiB and 160 bytes for each file'
    need_stores
    mkdir context
    python3 "$HERE/many-files.py" context/files 100000 435000000
    printf 'FROM base\nCOPY files /srv/files\n' >context/Dockerfile
    need_peers
    note 'each peer is measured once, without a warm-up'
}

round() { round_of_large_builds; }
