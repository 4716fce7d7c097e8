# shellcheck shell=bash disable=SC2154
# Archives: what `save` writes is loaded by others, what they save is loaded by us.

case_docker_loads_and_saves() {
    need_base
    start_docker
    corten --root "$BASE_STORE" save --format docker-archive -o ours.tar app
    peer_docker load -i ours.tar
    equal 'what it says under docker' "$APP_SAYS" "$(peer_docker run --rm --network host app)"
    # The image id is the digest of the config, in Docker's format as in ours.
    local id
    id=$(corten --root "$BASE_STORE" inspect --format json app | jq -r .imageId)
    equal 'image id' "$id" "$(peer_docker image inspect --format '{{.Id}}' app)"
    peer_docker save app -o theirs.tar
    corten --root "$CASE/store" load -i theirs.tar
    equal 'image id, saved by docker' "$id" "$(corten --root "$CASE/store" inspect --format json app | jq -r .imageId)"
    equal 'what it says' "$APP_SAYS" "$(corten --root "$CASE/store" run app)"
}

case_podman_loads_and_saves() {
    need_base
    need podman
    containers_conf
    corten --root "$BASE_STORE" save --format oci-archive -o ours.tar app
    peer_podman load --signature-policy policy.json -i ours.tar
    equal 'what it says under podman' "$APP_SAYS" \
        "$(peer_podman run --rm --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 docker.io/library/app:latest)"
    peer_podman save --signature-policy policy.json --format docker-archive -o theirs.tar docker.io/library/app:latest
    corten --root "$CASE/store" load -i theirs.tar --tag theirs
    equal 'what it says' "$APP_SAYS" "$(corten --root "$CASE/store" run theirs)"
    peer_podman save --signature-policy policy.json --format oci-archive -o theirs-oci.tar docker.io/library/app:latest
    corten --root "$CASE/store" load -i theirs-oci.tar --tag theirs-oci
    equal 'what it says' "$APP_SAYS" "$(corten --root "$CASE/store" run theirs-oci)"
}

case_save_and_load_return_the_same_image() {
    need_base
    local format
    for format in oci-archive docker-archive; do
        corten --root "$BASE_STORE" save --format "$format" -o "$format.tar" app base
        corten --root "$CASE/store-$format" load -i "$format.tar"
        equal "image id through $format" "$(corten --root "$BASE_STORE" inspect --format json app | jq -r .imageId)" \
            "$(corten --root "$CASE/store-$format" inspect --format json app | jq -r .imageId)"
        corten validate "oci:store-$format"
    done
    equal 'digest through oci-archive' "$(app_digest)" \
        "$(corten --root "$CASE/store-oci-archive" inspect --format json app | jq -r .digest)"
    # Compressed, and through a pipe.
    gzip -1 <oci-archive.tar | corten --root "$CASE/store-pipe" load
    corten --root "$BASE_STORE" save -o - app | corten --root "$CASE/store-pipe" load
}
