# shellcheck shell=bash disable=SC2046,SC2086,SC2154
# A program runs from an image that is still in a registry, and then again.

prepare() {
    title 'Pull and run: `true` of Debian, from a registry on loopback to its end'
    need_image_in_registry
    # The limits are the host's own: podman's defaults may be above what this process may have.
    PODMAN_RUN="run --quiet --rm --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024
        --tls-verify=false --signature-policy policy.json"
}

round() {
    measure 'corten run, not pulled yet' corten --root "$CASE/ours" run "$IMAGE" true
    measure 'corten run, again' corten --root "$CASE/ours" run "$IMAGE" true
    forget ours
    measure_without_sync 'corten run, not pulled yet, no sync' corten --root "$CASE/ours" run "$IMAGE" true
    forget ours
    measure 'podman run, not pulled yet' podman $(storage "$CASE/theirs") $PODMAN_RUN "$IMAGE" true
    measure 'podman run, again' podman $(storage "$CASE/theirs") $PODMAN_RUN "$IMAGE" true
    forget theirs run
}
