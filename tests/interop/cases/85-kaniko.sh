# shellcheck shell=bash disable=SC2154
# Corten in the place of kaniko's executor: images of examples/kaniko, built by Corten, in default
# containers.

# executor_image NAME DOCKERFILE: builds an image of the executor and loads it into Docker.
executor_image() {
    mkdir -p image/certificates
    cp "$CORTEN" image/corten
    cp "$(command -v busybox)" image/busybox
    cp /etc/ssl/certs/ca-certificates.crt image/certificates/
    corten --root "$CASE/images" build --tag "$1" --file "$HERE/../../examples/kaniko/$2" \
        --build-context certificates=image/certificates \
        --output "type=docker,dest=$1.tar" image >"$1.log" 2>&1 || { cat "$1.log"; fail "$2"; }
    peer_docker load --input "$1.tar"
}

# executor_site: Docker, a registry with the image library/base:1, and a directory `workspace`.
executor_site() {
    need_base
    need busybox jq
    file -L "$CORTEN" | grep -q 'static' || not_run 'the program is not static'
    start_docker
    start_registry
    corten --root "$BASE_STORE" push base "docker://$REGISTRY/library/base:1"
    mkdir workspace out
    cat >workspace/Dockerfile <<'DOCKERFILE'
FROM base:1
COPY hello /hello
RUN mkdir /home/app && cat /hello >/home/app/said && chown 1000:1000 /home/app/said && ln /hello /home/app/same
DOCKERFILE
    echo hello >workspace/hello
}

# executor [DOCKER-OPTION...] -- FLAG...: runs the image of the executor, whose base images are in the
# registry; its words are in executor.run.
executor() {
    local options=()
    while [[ $1 != -- ]]; do
        options+=("$1")
        shift
    done
    # Docker's own capabilities and system call filter.
    peer_docker run --rm --interactive --network host --volume "$CASE/out:/out" "${options[@]}" \
        executor "${@:2}" --registry-map "docker.io=$REGISTRY" >executor.run 2>&1 ||
        { cat executor.run; fail "executor ${*:2}"; }
}

# lacks FILE TEXT: the text is nowhere in the file.
lacks() { if grep -qF -- "$2" "$1"; then fail "$1 tells \`$2\`"; fi; }

pushed_digest() { skopeo inspect --tls-verify=false "docker://$REGISTRY/$1" | jq -r .Digest; }

case_an_executor_takes_contexts_from_everywhere() {
    executor_site
    executor_image executor Dockerfile
    tar --create --gzip --directory workspace --file context.tar.gz .
    # Any server of files does for S3: what is signed is its affair.
    local s3
    s3=$(free_port)
    mkdir -p s3/box/dir
    cp context.tar.gz 's3/box/dir/my context.tar.gz'
    busybox httpd -f -p "127.0.0.1:$s3" -h s3 &
    started+=($!)
    until_true 20 curl -fsS -o /dev/null "http://127.0.0.1:$s3/box/dir/my%20context.tar.gz"

    corten --root "$CASE/plain" build --timestamp 0 --build-context "base:1=oci:$BASE_STORE:docker.io/library/base:latest" \
        --tag "$REGISTRY/plain:1" --push workspace
    local plain
    plain=$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/plain:1" | jq -c '[.layers[].digest]')
    local number=0
    check() {
        number=$((number + 1))
        executor "$@" --destination "$REGISTRY/app:$number" --digest-file /out/digest --reproducible
        contains executor.run 'isolation: chroot'
        equal 'digest' "$(cat out/digest)" "$(pushed_digest "app:$number")"
        equal 'layers' "$plain" "$(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/app:$number" |
            jq -c '[.layers[].digest]')"
    }
    check --volume "$CASE/workspace:/workspace" -- --context dir:///workspace --verbosity debug
    check --volume "$CASE/context.tar.gz:/context.tar.gz" -- --context tar:///context.tar.gz --verbosity debug
    check -- --context tar://stdin --verbosity debug <context.tar.gz
    # In a file, since the trace of this script is among what the executor says.
    printf '%s\n' "S3_ENDPOINT=http://127.0.0.1:$s3" S3_FORCE_PATH_STYLE=true AWS_REGION=eu-west-1 \
        AWS_ACCESS_KEY_ID=AKID AWS_SECRET_ACCESS_KEY=s3cret-of-the-bucket >env
    check --env-file env -- --context 's3://box/dir/my%20context.tar.gz' --verbosity debug
    lacks executor.run s3cret
    if grep -rl s3cret-of-the-bucket registry; then fail 'the secret was pushed'; fi
}

case_an_executor_keeps_its_cache_in_the_registry() {
    executor_site
    executor_image executor Dockerfile
    executor --volume "$CASE/workspace:/workspace" -- --context /workspace --destination "$REGISTRY/app:1" --cache=true
    contains executor.run 'RUN mkdir'
    # The mirror is asked in the place of docker.io, and the steps are not run again.
    peer_docker run --rm --network host --volume "$CASE/workspace:/workspace" executor --context /workspace \
        --destination "$REGISTRY/app:2" --cache=true --registry-mirror "$REGISTRY" >mirror.run 2>&1 ||
        { cat mirror.run; fail 'with a mirror'; }
    contains mirror.run 'CACHED'
    equal 'layers' "$(skopeo inspect --tls-verify=false "docker://$REGISTRY/app:1" | jq -c .Layers)" \
        "$(skopeo inspect --tls-verify=false "docker://$REGISTRY/app:2" | jq -c .Layers)"
}

case_a_gitlab_job_changes_one_image_name() {
    executor_site
    executor_image debug Dockerfile.debug
    # As GitLab's runner does, which empties the entry point and writes the script to a shell; the script
    # is that of its manual.
    cat >job <<'JOB'
set -eu
mkdir -p /kaniko/.docker
echo "{\"auths\":{\"${CI_REGISTRY}\":{\"auth\":\"$(printf "%s:%s" "${CI_REGISTRY_USER}" "${CI_REGISTRY_PASSWORD}" | base64 | tr -d '\n')\"}}}" > /kaniko/.docker/config.json
/kaniko/executor
  --context "${CI_PROJECT_DIR}"
  --dockerfile "${CI_PROJECT_DIR}/Dockerfile"
  --destination "${CI_REGISTRY_IMAGE}:${CI_COMMIT_TAG}"
JOB
    # A script of several lines is one of YAML's folded texts.
    sed -i -e ':a' -e 'N' -e '$!ba' -e 's/\n  / /g' job
    local file
    for file in sh mkdir base64; do
        peer_docker run --rm --entrypoint "/busybox/$file" debug --help >/dev/null 2>&1 || fail "no $file"
    done
    peer_docker run --rm --interactive --network host --volume "$CASE/workspace:/builds/app" --entrypoint '' \
        --env CI_PROJECT_DIR=/builds/app --env "CI_REGISTRY=$REGISTRY" --env CI_REGISTRY_USER=ci \
        --env CI_REGISTRY_PASSWORD=pw --env "CI_REGISTRY_IMAGE=$REGISTRY/group/app" --env CI_COMMIT_TAG=v1 \
        --env "KANIKO_REGISTRY_MAP=docker.io=$REGISTRY" debug sh <job >job.run 2>&1 ||
        { cat job.run; fail 'the job'; }
    corten --root "$CASE/store" pull "docker://$REGISTRY/group/app:v1" >/dev/null
    equal 'what RUN made' hello "$(corten --root "$CASE/store" cat "$REGISTRY/group/app:v1" /home/app/said)"
    corten --root "$CASE/store" ls --long "$REGISTRY/group/app:v1" /home/app >owners
    contains owners 1000
}

case_an_executor_asks_the_credential_helper_of_its_image() {
    executor_site
    executor_image debug Dockerfile.debug
    need perl
    # shellcheck disable=SC2016
    local hash='$2y$05$abcdefghijklmnopqrstuu'
    echo "robot:$(HASH=$hash perl -e 'print crypt("pa55", $ENV{HASH})')" >htpasswd
    local port
    port=$(free_port)
    cat >private.yml <<CONFIG
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $CASE/private}}
http: {addr: "127.0.0.1:$port"}
auth: {htpasswd: {realm: here, path: $CASE/htpasswd}}
CONFIG
    docker-registry serve private.yml >private.log 2>&1 &
    started+=($!)
    until_true 20 curl -fsS -u robot:pa55 "http://127.0.0.1:$port/v2/"
    cat >docker-credential-test <<'HELPER'
#!/busybox/sh
read -r server
echo "$1 $server" >>/out/asked
echo "{\"ServerURL\":\"$server\",\"Username\":\"robot\",\"Secret\":\"$(cat /out/password)\"}"
HELPER
    chmod +x docker-credential-test
    echo "{\"credHelpers\":{\"127.0.0.1:$port\":\"test\"}}" >config.json
    helped() {
        peer_docker run --rm --network host --volume "$CASE/workspace:/workspace" --volume "$CASE/out:/out" \
            --volume "$CASE/docker-credential-test:/kaniko/docker-credential-test" \
            --volume "$CASE/config.json:/kaniko/.docker/config.json" debug --context /workspace \
            --destination "127.0.0.1:$port/app:1" --registry-map "docker.io=$REGISTRY" >helped.run 2>&1
    }
    echo pa55 >out/password
    helped || { cat helped.run; fail 'with a helper'; }
    sort -u out/asked >asked
    equal 'what it was asked' "get 127.0.0.1:$port" "$(cat asked)"
    skopeo inspect --tls-verify=false --creds robot:pa55 "docker://127.0.0.1:$port/app:1" >/dev/null
    echo wrong-pa55 >out/password
    if helped; then fail 'with a wrong password'; fi
    contains helped.run 'signed in as `robot`'
    lacks helped.run wrong-pa55
}
