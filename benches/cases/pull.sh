# shellcheck shell=bash disable=SC2046,SC2154
# An image comes from a registry into a fresh store.

prepare() {
    title 'Pull of Debian from a registry on loopback into a fresh store'
    note 'corten pull and skopeo keep the layer as it is; podman pull unpacks it'
    need_image_in_registry
}

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
}
