# shellcheck shell=bash disable=SC2154
# Docker's format and OCI's: what we convert is what skopeo converts, and others take it.

# What a manifest names: its own type, the config and the layers, each by type, digest and size.
names() { jq -cS '[.mediaType, (.config, .layers[] | {mediaType, digest, size})]'; }

case_converts_as_skopeo_does() {
    need_base
    need skopeo
    containers_conf
    local store=$CASE/store
    copy_base "$store"
    # skopeo leaves annotations out without a word, so an image without any is compared.
    corten --root "$store" copy base oci:ours:v1
    corten --root "$store" convert base converted:v1 --format docker
    skopeo --policy policy.json copy --format v2s2 oci:ours:v1 dir:theirs
    equal 'the manifest that skopeo makes' "$(names <theirs/manifest.json)" \
        "$(corten --root "$store" inspect --raw converted:v1 | names)"
    local digest
    digest=$(corten --root "$store" inspect --format json base | jq -r .digest)
    equal 'digest, there and back' "$digest" \
        "$(corten --root "$store" convert converted:v1 back:v1 --format oci)"
}

case_podman_and_skopeo_take_converted_images() {
    need_base
    need skopeo podman
    containers_conf
    start_registry
    local id
    id=$(corten --root "$BASE_STORE" inspect --format json app | jq -r .imageId)
    corten --root "$BASE_STORE" push --format docker --lossy app "docker://$REGISTRY/app:docker"
    equal 'media type' application/vnd.docker.distribution.manifest.v2+json \
        "$(skopeo --policy policy.json inspect --tls-verify=false --raw "docker://$REGISTRY/app:docker" | jq -r .mediaType)"
    # And back to OCI's by skopeo, beside ours. skopeo 1.9 writes the config anew, without Docker's fields,
    # which makes another image of it; ours keeps its id.
    skopeo --policy policy.json copy --src-tls-verify=false --format oci "docker://$REGISTRY/app:docker" oci:theirs:v1
    corten copy --format oci "docker://$REGISTRY/app:docker" oci:ours:v1
    equal 'the layers that both name' "$(corten inspect --raw oci:theirs:v1 | jq -c .layers)" \
        "$(corten inspect --raw oci:ours:v1 | jq -c .layers)"
    equal 'image id, there and back' "$id" "$(corten inspect --format json oci:ours:v1 | jq -r .imageId)"
    corten validate oci:ours:v1

    peer_podman pull --signature-policy policy.json --tls-verify=false "$REGISTRY/app:docker"
    equal 'image id in podman' "${id#sha256:}" \
        "$(peer_podman image inspect --format '{{.Id}}' "$REGISTRY/app:docker")"
}

case_docker_takes_converted_images_and_keeps_them_where_the_tree_says() {
    need_base
    start_registry
    local id
    id=$(corten --root "$BASE_STORE" inspect --format json app | jq -r .imageId)
    corten --root "$BASE_STORE" push --format docker --lossy app "docker://$REGISTRY/app:docker"
    start_docker
    peer_docker pull "$REGISTRY/app:docker"
    equal 'image id in docker' "$id" "$(peer_docker image inspect --format '{{.Id}}' "$REGISTRY/app:docker")"
    equal 'what it says under docker' "$APP_SAYS" "$(peer_docker run --rm --network host "$REGISTRY/app:docker")"
    # Where Docker keeps the config and the layers is where `--tree` says, beneath its own directory.
    local path
    corten --root "$BASE_STORE" inspect --tree --format json app |
        jq -r '.. | .docker? // empty | sub("^/var/lib/docker/image/overlay2/"; "")' >paths
    equal 'paths in docker' 6 "$(wc -l <paths)"
    while read -r path; do
        compgen -G "docker/image/*/$path" >/dev/null || fail "docker keeps nothing at $path"
    done <paths
}

case_containerd_keeps_what_the_tree_says() {
    need_base
    start_containerd
    corten --root "$BASE_STORE" save -o app.tar app
    peer_ctr images import --snapshotter native app.tar
    corten --root "$BASE_STORE" inspect --tree --format json app >tree
    local path key
    jq -r '.. | .containerd? // empty | sub("^/var/lib/containerd/"; "")' tree >paths
    while read -r path; do
        [[ -f containerd/$path ]] || fail "containerd keeps nothing at $path"
    done <paths
    peer_ctr snapshots --snapshotter native ls >snapshots
    for key in $(jq -r '.. | .containerdSnapshot? // empty' tree); do
        contains snapshots "$key"
    done
}
