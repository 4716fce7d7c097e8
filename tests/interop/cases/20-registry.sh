# shellcheck shell=bash disable=SC2154
# Debian's registry, and who reads from it what Corten pushed.

case_push_then_skopeo_reads() {
    need_base
    need skopeo
    start_registry
    corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1" >pushed
    equal 'digest pushed' "$(app_digest)" "$(cat pushed)"
    skopeo inspect --tls-verify=false "docker://$REGISTRY/team/app:1" >inspected
    equal 'digest that skopeo sees' "$(app_digest)" "$(jq -r .Digest inspected)"
    equal 'label that skopeo sees' app "$(jq -r '.Labels["org.opencontainers.image.title"]' inspected)"
    # skopeo verifies every blob against its digest and every layer against its DiffID.
    containers_conf
    skopeo copy --policy policy.json --src-tls-verify=false "docker://$REGISTRY/team/app:1" oci:copied:app
    equal 'digest of the copy' "$(app_digest)" "$(jq -r '.manifests[0].digest' copied/index.json)"
    corten validate oci:copied
    # And back, through our own eyes, by tag and by digest.
    corten --root "$CASE/store" pull "$REGISTRY/team/app:1"
    corten --root "$CASE/store" pull "$REGISTRY/team/app@$(app_digest)"
    corten --root "$CASE/store" validate "$REGISTRY/team/app:1"
    # A second push sends nothing twice and says the same.
    equal 'digest pushed again' "$(app_digest)" "$(corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1")"
    # The layers are in the registry already: they are mounted from the other repository.
    corten --root "$BASE_STORE" push app "$REGISTRY/other/app:1"
}

case_a_provenance_is_found_by_the_fallback_tag() {
    need curl jq
    start_registry
    mkdir context
    printf 'FROM scratch\nCOPY Dockerfile /\n' >context/Dockerfile
    corten --root "$CASE/store" build --quiet --push --provenance --tag "$REGISTRY/team/stated:1" context
    # It lists no referrers itself.
    manifest() { curl --fail --silent --header 'Accept: application/vnd.oci.image.index.v1+json' "http://$REGISTRY/v2/team/stated/manifests/$1"; }
    manifest 1 >index
    image=$(jq -r '.manifests[0].digest' index)
    manifest "${image/:/-}" >referrers
    equal 'referrer' "$(jq -r '.manifests[1].digest' index)" "$(jq -r '.manifests[0].digest' referrers)"
    equal 'its type' application/vnd.docker.attestation.manifest.v1+json "$(jq -r '.manifests[0].artifactType' referrers)"
    equal 'number of referrers' 1 "$(jq '.manifests | length' referrers)"
}

case_podman_pulls_and_runs() {
    need_base
    need podman
    start_registry
    corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1"
    containers_conf
    peer_podman pull --quiet --tls-verify=false --signature-policy policy.json "$REGISTRY/team/app:1"
    equal 'what it says under podman' "$APP_SAYS" \
        "$(peer_podman run --rm --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$REGISTRY/team/app:1")"
}

case_docker_pulls_and_runs() {
    need_base
    start_registry
    start_docker --insecure-registry "$REGISTRY"
    corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1"
    peer_docker pull --quiet "$REGISTRY/team/app:1"
    equal 'what it says under docker' "$APP_SAYS" \
        "$(peer_docker run --rm --network host "$REGISTRY/team/app:1")"
}

case_containerd_pulls_and_checks() {
    need_base
    start_registry
    corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1"
    start_containerd
    peer_ctr images pull --plain-http "$REGISTRY/team/app:1"
    peer_ctr images ls | tee listed
    contains listed "$(app_digest)"
}

case_buildah_pushes_then_corten_runs() {
    need_base
    need buildah
    start_registry
    corten --root "$BASE_STORE" save -o base.tar base
    containers_conf
    local id
    id=$(peer_buildah pull --quiet --signature-policy policy.json oci-archive:base.tar | tail -n 1)
    mkdir context
    cat >context/Dockerfile <<DOCKERFILE
FROM $id
RUN echo built by buildah >/etc/motd && rm -rf /usr/share/doc && mkdir -m 1777 /srv/drop && ln /etc/motd /etc/motd2
USER nobody
WORKDIR /srv
CMD ["cat", "/etc/motd2"]
DOCKERFILE
    peer_buildah bud --isolation chroot --signature-policy policy.json --layers --tag theirs context
    peer_buildah push --signature-policy policy.json --tls-verify=false theirs "docker://$REGISTRY/team/theirs:1"
    corten --root "$CASE/store" pull "$REGISTRY/team/theirs:1"
    equal 'what it says' 'built by buildah' "$(corten --root "$CASE/store" run "$REGISTRY/team/theirs:1")"
    corten --root "$CASE/store" unpack "$REGISTRY/team/theirs:1" bundle
    equal 'mode of /srv/drop' 1777 "$(stat -c %a bundle/rootfs/srv/drop)"
    [[ ! -e bundle/rootfs/usr/share/doc ]] || fail 'what the layer removed is there'
    # Docker's own schema, too.
    peer_buildah push --signature-policy policy.json --format v2s2 --tls-verify=false theirs "docker://$REGISTRY/team/theirs:2"
    equal 'what it says in the Docker format' 'built by buildah' "$(corten --root "$CASE/store" run "$REGISTRY/team/theirs:2")"
}

case_lists_and_deletes_as_skopeo_sees_it() {
    need_base
    need skopeo
    start_registry
    local tag
    for tag in 1 2 latest; do corten --root "$BASE_STORE" push app "$REGISTRY/team/app:$tag"; done
    corten --root "$BASE_STORE" push base "$REGISTRY/team/base:1"
    skopeo list-tags --tls-verify=false "docker://$REGISTRY/team/app" | jq -r '.Tags[]' | sort >theirs
    corten tags "$REGISTRY/team/app" | sort >ours
    cmp theirs ours
    equal 'tags after 1' 2 "$(corten tags "$REGISTRY/team/app" --after 1 --first 1)"
    equal 'repositories' 'team/app team/base' "$(corten catalog "$REGISTRY" | xargs)"
    # This registry deletes no tags, but manifests with their tags: the others have to stay.
    corten delete "$REGISTRY/team/app:2"
    equal 'tags that are left' '1 latest' "$(corten tags "$REGISTRY/team/app" | sort | xargs)"
    equal 'what is left' "$(app_digest)" \
        "$(skopeo inspect --tls-verify=false "docker://$REGISTRY/team/app:latest" | jq -r .Digest)"
    ! corten delete "$REGISTRY/team/app@$(app_digest)" 2>refused || fail 'a manifest with tags was deleted'
    contains refused 'tags name it, which would go with it: '
    corten delete --with-tags "$REGISTRY/team/app@$(app_digest)"
    ! skopeo inspect --tls-verify=false "docker://$REGISTRY/team/app:1" || fail 'the image is still there'
}

case_manifests_and_blobs_as_skopeo_sees_them() {
    need_base
    need skopeo
    start_registry
    corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1"
    skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/team/app:1" >theirs
    corten manifest get "docker://$REGISTRY/team/app:1" >ours
    cmp theirs ours
    jq '.annotations.a = "b"' ours >changed
    corten manifest put "$REGISTRY/team/app:2" changed >digest
    skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/team/app:2" | cmp - changed
    equal 'digest' "sha256:$(sha256sum <changed | cut -d' ' -f1)" "$(cat digest)"
    corten manifest diff "docker://$REGISTRY/team/app:1" "docker://$REGISTRY/team/app:2" | grep '"b"'
    corten blob put "$REGISTRY/team/app" ours >blob
    corten blob get "$REGISTRY/team/app@$(cat blob)" | cmp - ours
    corten delete --blob "$REGISTRY/team/app@$(cat blob)"
    ! corten blob head "$REGISTRY/team/app@$(cat blob)" || fail 'the blob is still there'
}

# A registry with TLS that lets in only who has a certificate, found by the files that skopeo finds, too.
case_certificates_as_skopeo_finds_them() {
    need_base
    need docker-registry
    need openssl
    need skopeo
    local port name
    port=$(free_port)
    REGISTRY=localhost:$port
    for name in server client; do
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$name" \
            -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
            -keyout "$name.key" -out "$name.cert" 2>/dev/null
    done
    cat >"$CASE/registry.yml" <<CONFIG
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $CASE/registry}}
http:
  addr: "127.0.0.1:$port"
  tls: {certificate: $CASE/server.cert, key: $CASE/server.key, clientcas: [$CASE/client.cert]}
CONFIG
    docker-registry serve "$CASE/registry.yml" >"$CASE/registry.log" 2>&1 &
    started+=($!)
    until_true 20 curl -fsS --cacert server.cert --cert client.cert --key client.key "https://$REGISTRY/v2/"
    mkdir -p certs config/containers/certs.d
    cp server.cert certs/ca.crt
    ! corten --root "$BASE_STORE" push --cert-dir certs app "$REGISTRY/team/app:1" || fail 'it let a stranger in'
    cp client.cert client.key certs/
    equal 'digest pushed' "$(app_digest)" \
        "$(corten --root "$BASE_STORE" push --cert-dir certs app "$REGISTRY/team/app:1")"
    equal 'digest that skopeo sees' "$(app_digest)" \
        "$(skopeo inspect --cert-dir certs "docker://$REGISTRY/team/app:1" | jq -r .Digest)"
    cp -r certs "config/containers/certs.d/$REGISTRY"
    equal 'tags' 1 "$(XDG_CONFIG_HOME=$CASE/config corten tags "$REGISTRY/team/app")"
}
