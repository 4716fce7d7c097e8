# shellcheck shell=bash disable=SC2154
# What is wrong is told, with the exit code that it has, and leaves nothing behind.

# refused CODE TEXT COMMAND...: it ends with the code and says the text, within 40 seconds.
refused() {
    { set +x; } 2>/dev/null
    local code=$1 text=$2 status=0
    shift 2
    timeout 40 "$@" >out 2>err </dev/null || status=$?
    [[ $status != 124 ]] || fail "it hangs: $*"
    grep -qF -- "$text" err || { cat err; fail "it does not say \`$text\`: $*"; }
    [[ $status == "$code" ]] || { cat err; fail "exit code $status, expected $code: $*"; }
    ! grep -q 'panicked' err || { cat err; fail "it panics: $*"; }
    echo "refused: $(head -n 1 err)"
    set -x
}

# dockerfile LINE...: a context with this Dockerfile and a file `here`.
dockerfile() {
    mkdir -p context
    touch context/here
    printf '%s\n' "$@" >context/Dockerfile
}

case_bad_dockerfiles() {
    local build=(corten --root "$CASE/store" build context)
    dockerfile 'FROM scratch' 'COPPY here /'
    refused 1 'did you mean `COPY`' "${build[@]}"
    dockerfile 'FROM scratch' 'COPY gone /'
    refused 1 '`gone` is not in the build context' "${build[@]}"
    dockerfile 'FROM scratch' 'COPY here /'
    echo here >context/.dockerignore
    refused 1 '.dockerignore' "${build[@]}"
    rm context/.dockerignore
    dockerfile 'FROM scratch' 'COPY --from=gone /x /' 'FROM scratch'
    refused 1 'gone' "${build[@]}" --target gone
    dockerfile 'FROM scratch' 'COPY ../../etc/passwd /'
    refused 1 'etc/passwd` is not in the build context' "${build[@]}"
    dockerfile 'FROM scratch' 'ADD https://registry.invalid/x /'
    refused 1 'https://registry.invalid/x' "${build[@]}"
    dockerfile 'FROM scratch' 'RUN --security=insecure x'
    refused 1 '--security' "${build[@]}"
    dockerfile 'COPY here /'
    refused 1 'FROM' "${build[@]}"
    : >context/Dockerfile
    refused 1 'Dockerfile' "${build[@]}"
    rm context/Dockerfile
    refused 1 'context/Dockerfile' "${build[@]}"
    refused 2 '--frob' corten build --frob context
}

case_a_failing_run_shows_its_last_words() {
    need_base
    copy_base "$CASE/store"
    dockerfile 'FROM base' 'RUN seq 100; echo last words >&2; exit 7'
    refused 1 'last words' corten --root "$CASE/store" build context
    contains err '7'
    contains err '100'
    dockerfile 'FROM base' 'RUN kill -9 $$'
    refused 1 'RUN kill -9' corten --root "$CASE/store" build context
    dockerfile 'FROM base' 'RUN ["/gone"]'
    refused 1 '/gone' corten --root "$CASE/store" build context
    equal 'images' '[]' "$(corten --root "$CASE/store" images --format json | jq -c 'map(select(.name | contains("base") | not))')"
}

case_bad_archives() {
    need python3
    # shellcheck disable=SC2016
    python3 "$HERE/files/bad-archives.py" .
    refused 1 'ends at byte 9000, inside an entry' corten --root "$CASE/store" import cut.tar --tag bad
    refused 1 'cut.tar.gz' corten --root "$CASE/store" import cut.tar.gz --tag bad
    refused 1 'the header at byte 0 is malformed' corten --root "$CASE/store" import noise --tag bad
    refused 1 'the limit `file_bytes`' corten --root "$CASE/store" import huge.tar --tag bad
    refused 1 'gone.tar' corten --root "$CASE/store" import gone.tar --tag bad
    refused 1 'noise' corten --root "$CASE/store" load -i noise
    refused 3 'did not verify' corten --root "$CASE/store" load -i cut-layer.tar
    # In a store of its own: what the load above left would be resumed, and its end is the same.
    refused 3 'did not verify' corten --root "$CASE/other-store" copy oci:changed-layer x
    equal 'images' '[]' "$(corten --root "$CASE/store" images --format json | jq -c .)"
    # A path that goes up stops at the root, as it does for a process in it.
    corten --root "$CASE/store" import dot-dot.tar --tag dot-dot
    dockerfile 'FROM dot-dot'
    corten --root "$CASE/store" build --output "type=local,dest=$CASE/up/down" context
    [[ -f up/down/escaped && ! -e up/escaped ]] || fail 'where the file is'
    # A link of an earlier layer does not lead a later one out of the root.
    echo untouched >victim
    corten --root "$CASE/store" copy oci:through-link through-link
    corten --root "$CASE/store" unpack through-link bundle || true
    equal 'the file outside' untouched "$(cat victim)"
    [[ ! -e $CASE/escaped ]] || fail 'a file outside of the root'
}

case_bad_registries() {
    need python3
    local mode
    python3 "$HERE/files/bad-registry.py" port &
    started+=($!)
    until_true 20 test -s port
    local registry
    registry=127.0.0.1:$(cat port)
    refused 3 'did not verify' corten --root "$CASE/store" pull "$registry/wrong-digest:1"
    refused 3 'did not verify' corten --root "$CASE/store" pull "$registry/wrong-layer:1"
    refused 1 'not valid JSON' corten --root "$CASE/store" pull "$registry/not-json:1"
    refused 1 '403' corten --root "$CASE/store" pull "$registry/refused:1"
    refused 1 'corten login' corten --root "$CASE/store" pull "$registry/sign-in:1"
    refused 1 '' corten --root "$CASE/store" pull "$registry/gone:1"
    refused 1 '' corten --root "$CASE/store" pull "$registry/closes:1"
    refused 1 '' corten --root "$CASE/store" pull 127.0.0.1:1/nobody:1
    equal 'images' '[]' "$(corten --root "$CASE/store" images --format json | jq -c .)"
}

case_a_stalling_registry_has_a_time_limit() {
    need python3
    python3 "$HERE/files/bad-registry.py" port &
    started+=($!)
    until_true 20 test -s port
    local before=$SECONDS status=0
    timeout 400 corten --root "$CASE/store" pull "127.0.0.1:$(cat port)/stalls:1" 2>err || status=$?
    note "it gave up after $((SECONDS - before)) s"
    cat err
    equal 'exit code' 1 "$status"
}

case_no_namespaces() {
    need_base
    local user
    user=$(new_user)
    copy_base "$CASE/store"
    dockerfile 'FROM base' 'RUN true'
    chown -R "$user" store context
    mkdir empty
    refused 1 'hint: ' "$HERE/as-user" "$user" PATH="$CASE/empty" "$CORTEN" --root "$CASE/store" build --isolation userns "$CASE/context"
    contains err newuidmap
    # One id needs none of that.
    "$HERE/as-user" "$user" PATH="$CASE/empty" "$CORTEN" --root "$CASE/store" build "$CASE/context"
    # What runs nothing needs no namespace.
    dockerfile 'FROM base' 'COPY here /'
    "$HERE/as-user" "$user" PATH="$CASE/empty" "$CORTEN" --root "$CASE/store" build "$CASE/context"
}
