# shellcheck shell=bash disable=SC2154
# An image goes from where it is stored compressed to an empty registry.

prepare() {
    title 'Push of Debian to an empty registry on loopback'
    note 'the time of the registry, which hashes all it gets, is in every figure'
    containers_conf
    need_base
}

round() {
    fresh_registry
    measure 'corten push' corten --root "$CASE/base-store" push base "docker://$REGISTRY/base:latest"
    fresh_registry
    measure 'skopeo copy from oci:' skopeo copy --quiet --policy policy.json --dest-tls-verify=false \
        oci:layout:base "docker://$REGISTRY/base:latest"
}
