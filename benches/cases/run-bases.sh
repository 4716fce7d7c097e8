# shellcheck shell=bash disable=SC2046
# One RUN on bases of three sizes: it is to cost the same on each.

prepare() {
    title 'One RUN on bases of 10 MB, 170 MB and 2 GB, already unpacked'
    note 'nothing is cached but the base; the ratios are to the first row'
    containers_conf
    need_base
    mkdir small small/filler large context-small context-base context-large
    python3 "$HERE/many-files.py" small/filler 500 8000000
    cat >small/Dockerfile <<'END'
FROM scratch
COPY --from=rootfs /usr/bin/dash /bin/sh
COPY --from=rootfs /lib/x86_64-linux-gnu/libc.so.6 /lib/x86_64-linux-gnu/
COPY --from=rootfs /lib64/ld-linux-x86-64.so.2 /lib64/
COPY filler /srv/filler
END
    python3 "$HERE/many-files.py" large/filler 20000 1830000000
    printf 'FROM base\nCOPY filler /srv/filler\n' >large/Dockerfile
    local size
    for size in small base large; do
        [[ $size == base ]] || corten --root "$CASE/base-store" build --tag "$size" "$size"
        printf 'FROM %s\nRUN echo done >/done\n' "$size" >"context-$size/Dockerfile"
        corten --root "$CASE/base-store" copy "$size" "oci:$CASE/layout-$size:$size"
        buildah $(storage "$CASE/theirs") pull --quiet --signature-policy policy.json "oci:layout-$size:$size" >id
        buildah $(storage "$CASE/theirs") tag "$(cat id)" "localhost/$size:latest"
    done
}

round() {
    local size
    for size in small base large; do
        measure "corten build, $size base" corten --root "$CASE/base-store" build --no-cache --progress plain \
            --tag built "context-$size"
    done
    for size in small base large; do
        measure "buildah bud, $size base" buildah $(storage "$CASE/theirs") bud --quiet --layers --no-cache \
            --isolation chroot --pull-never --signature-policy policy.json --tag built "context-$size"
    done
}
