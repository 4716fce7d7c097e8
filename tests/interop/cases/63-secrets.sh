# shellcheck shell=bash disable=SC2154
# What is given to a build as a secret is nowhere afterwards: in no blob, record, document or output.

# start_secret_server: serves `file` and the repository `repo.git` to who has the token `http-sesame`, at $SERVER.
start_secret_server() {
    cat >server.py <<'PYTHON'
import base64, http.server, os
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        given = self.headers.get("Authorization", "")
        if given.lower().startswith("basic "):
            given = base64.b64decode(given[6:]).decode()
        if "sesame-http" not in given:
            # What is told to whoever asks has what was sent in it, as careless servers do.
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic realm=x")
            self.end_headers()
            self.wfile.write(f"not {given}".encode())
            return
        super().do_GET()
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open("port.tmp", "w") as port:
    port.write(str(server.server_port))
os.rename("port.tmp", "port")
os.chdir("served")
server.serve_forever()
PYTHON
    mkdir served
    echo fetched >served/file
    git init -q --bare served/repo.git
    git init -q work
    echo tracked >work/tracked
    git -C work -c user.name=a -c user.email=a@example.org -c commit.gpgsign=false -c init.defaultBranch=main commit -q --allow-empty -m a
    git -C work add tracked
    git -C work -c user.name=a -c user.email=a@example.org -c commit.gpgsign=false commit -q -m b
    git -C work push -q "$CASE/served/repo.git" HEAD:refs/heads/main
    git -C served/repo.git symbolic-ref HEAD refs/heads/main
    git -C served/repo.git update-server-info
    python3 server.py &
    started+=($!)
    until_true 20 test -s port
    SERVER=127.0.0.1:$(cat port)
}

# start_private_registry: one that knows `user` by the password `sesame-registry`.
start_private_registry() {
    start_registry
    kill "${started[-1]}"
    wait "${started[-1]}" 2>/dev/null || true
    python3 -W ignore -c 'import crypt; print("user:" + crypt.crypt("sesame-registry", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32)))' \
        >htpasswd
    echo "auth: {htpasswd: {realm: x, path: $CASE/htpasswd}}" >>registry.yml
    docker-registry serve "$CASE/registry.yml" >"$CASE/registry.log" 2>&1 &
    started+=($!)
    until_true 20 curl -fsS -u user:sesame-registry "http://$REGISTRY/v2/"
}

# nowhere WHAT: none of the secrets is in any file beside them, as it is or as it is sent; blobs are looked into.
nowhere() {
    { set +x; } 2>/dev/null
    local words=() word file
    for word in sesame-file sesame-env sesame-http sesame-registry; do
        words+=(-e "$word" -e "$(printf %s "$word" | base64)" -e "$(printf 'user:%s' "$word" | base64)")
    done
    # The key as ssh-keygen wrote it.
    words+=(-e "$(sed -n 3p keys/key)")
    while read -r file; do
        ! zcat -f "$file" 2>/dev/null | grep -qaF "${words[@]}" || fail "$1: a secret is in $file"
    done < <(find . -type f ! -path './secrets/*' ! -path './keys/*' ! -path './served/*' ! -name server.py ! -name htpasswd \
        ! -path './home/*')
    for file in *.tar; do
        [[ ! -e $file ]] || ! tar --extract --to-command 'zcat -f' --file "$file" 2>/dev/null | grep -qaF "${words[@]}" ||
            fail "$1: a secret is in $file"
    done
}

case_secrets_are_nowhere() {
    need_root
    need python3 git jq ssh-keygen
    start_secret_server
    start_private_registry
    small_base "$CASE/store"
    mkdir secrets keys home context logs
    echo sesame-file >secrets/file
    ssh-keygen -q -t ed25519 -N '' -C '' -f keys/key
    export HOME=$CASE/home
    echo sesame-registry | corten login --username user --password-stdin "$REGISTRY"
    cat >context/Dockerfile <<DOCKERFILE
FROM small AS first
RUN --mount=type=secret,id=file --mount=type=secret,id=env,env=TOKEN --mount=type=ssh \\
    sha256sum /run/secrets/file >/sum && test -n "\$TOKEN" && test -S "\$SSH_AUTH_SOCK"
RUN --mount=type=cache,target=/c --mount=type=secret,id=file,target=/etc/token,mode=0444 cp /etc/token /c/x && : >/c/x
ADD http://$SERVER/file /file
ADD http://$SERVER/repo.git#main /repo
FROM first AS last
ARG X=plain
RUN --mount=type=secret,id=env,target=/etc/hidden test -s /etc/hidden && echo "\$X" >/x
DOCKERFILE
    local all=(--secret "id=file,src=secrets/file" --secret id=env,env=ENV_SECRET --ssh "default=$CASE/keys/key"
        --secret id=HTTP_AUTH_HEADER_127.0.0.1,env=HTTP_HEADER --secret id=GIT_AUTH_TOKEN,env=HTTP_SECRET)
    export ENV_SECRET=sesame-env HTTP_SECRET=sesame-http HTTP_HEADER='Bearer sesame-http'
    local build=(corten --verbose --root "$CASE/store" build "${all[@]}") how progress n=0
    { set +x; } 2>/dev/null
    for how in root chroot; do
        for progress in plain json; do
            n=$((n + 1))
            "${build[@]}" --no-cache --isolation "$how" --progress "$progress" --explain --provenance=mode=max --tag "built$n" \
                --metadata-file "logs/metadata$n" --output type=image --output "type=oci,dest=oci$n.tar" \
                --output "type=tar,dest=files$n.tar" --output "type=registry,name=$REGISTRY/team/app:$n" \
                --cache-to "type=local,dest=cache$n,mode=max,mounts=true" \
                --cache-to "type=registry,ref=$REGISTRY/team/cache:$n,mode=max,mounts=true" context >"logs/$n" 2>&1 ||
                { tail -n 20 "logs/$n"; fail "$how"; }
            equal 'what is left' '' "$(ls store/layers/tmp)"
        done
    done
    equal 'what was fetched' fetched "$(tar --extract --to-stdout --file files1.tar file)"
    nowhere 'builds that succeed'
    # Where nothing is made, and where it is said why something is.
    "${build[@]}" --print-plan=json context >logs/plan 2>&1
    "${build[@]}" --print-plan=svg context >logs/plan.svg 2>&1
    "${build[@]}" --check context >logs/check 2>&1 || true
    "${build[@]}" --explain --progress plain --build-arg X=other context >logs/explained 2>&1
    corten --root "$CASE/store" inspect --format json built1 >logs/inspected
    corten --root "$CASE/store" cache ls --format json >logs/cache
    nowhere 'plans and explanations'
    # Builds that fail, in a command and in each of those who are sent a secret.
    fails_with() {
        printf '%s\n' 'FROM small' "${@:2}" >context/Dockerfile
        ! "${build[@]}" --no-cache --explain --progress plain context >"logs/$1" 2>&1 || fail "$1: it succeeds"
    }
    fails_with command 'RUN --mount=type=secret,id=file --mount=type=secret,id=env,env=TOKEN test -n "$TOKEN"; exit 3'
    fails_with required 'RUN --mount=type=secret,id=gone,required true'
    fails_with fetched "ADD http://$SERVER/gone /"
    fails_with cloned "ADD http://$SERVER/gone.git /"
    HTTP_SECRET=sesame-file HTTP_HEADER='Bearer sesame-file' fails_with refused "ADD http://$SERVER/file /"
    HTTP_SECRET=sesame-file fails_with refused-git "ADD http://$SERVER/repo.git /"
    printf 'FROM small\nRUN --mount=type=secret,id=file exit 3\n' >context/Dockerfile
    python3 "$HERE/files/typed.py" 'fails when it ends' 'ls /run/secrets\nexit 3\n' "${build[@]}" --no-cache --shell-on-failure \
        context >logs/shell 2>&1 || true
    contains logs/shell 'file'
    nowhere 'builds that fail'
    # What a killed chroot leaves of a secret, gc takes.
    printf 'FROM small\nRUN --mount=type=secret,id=file echo asleep; sleep 4716\n' >context/Dockerfile
    setsid "${build[@]}" --no-cache --isolation chroot --progress plain context >logs/killed 2>&1 &
    local builder=$!
    until_true 30 grep -q 'asleep$' logs/killed
    kill -KILL -- "-$builder"
    wait "$builder" 2>/dev/null || true
    corten --root "$CASE/store" gc
    nowhere 'a build that was killed'
}
