# shellcheck shell=bash disable=SC2046,SC2154
# An image comes from a registry into a fresh store, and is run from there.

prepare() {
    title 'Pull of Debian from a registry on loopback into a fresh store; run of `true` there'
    note 'podman pull unpacks the layer; corten pull and skopeo keep it as it is; whoever ran has a ready root'
    containers_config
    need_base
    fresh_registry
    IMAGE=$REGISTRY/base:latest
    corten --root base-store push base "docker://$IMAGE"
}

# The limits are the host's own: podman's defaults may be above what this process may have.
run_options='--rm --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --tls-verify=false'

round() {
    measure 'corten pull' corten --root "$CASE/ours" pull "$IMAGE"
    forget ours
    measure_without_sync 'corten pull, no sync' corten --root "$CASE/ours" pull "$IMAGE"
    forget ours
    measure 'skopeo copy to oci:' skopeo copy --quiet --policy policy.json --src-tls-verify=false \
        "docker://$IMAGE" oci:theirs:base
    forget theirs
    measure 'podman pull' podman $(storage "$CASE/theirs") pull --quiet --tls-verify=false \
        --signature-policy policy.json "$IMAGE"
    forget theirs run
    measure 'corten run, not pulled yet' corten --root "$CASE/ours" run "$IMAGE" true
    measure 'corten run, again' corten --root "$CASE/ours" run "$IMAGE" true
    forget ours
    measure_without_sync 'corten run, not pulled yet, no sync' corten --root "$CASE/ours" run "$IMAGE" true
    forget ours
    measure 'podman run, not pulled yet' podman $(storage "$CASE/theirs") run --quiet $run_options \
        --signature-policy policy.json "$IMAGE" true
    measure 'podman run, again' podman $(storage "$CASE/theirs") run --quiet $run_options \
        --signature-policy policy.json "$IMAGE" true
    forget theirs run
}
