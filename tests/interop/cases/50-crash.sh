# shellcheck shell=bash disable=SC2154
# Killed at random moments: what is visible is right, the same command works, gc takes what is left.

# killed COMMAND...: runs it, and kills it, with all that it started, after up to half a second.
killed() {
    { set +x; } 2>/dev/null
    local delay pid
    delay=$(printf '0.%03d' $((RANDOM % ${MOMENT:-500})))
    setsid "$@" >killed.log 2>&1 &
    pid=$!
    sleep "$delay"
    kill -KILL -- "-$pid" 2>/dev/null && echo "killed after $delay s" || echo "done within $delay s"
    wait "$pid" 2>/dev/null || true
    set -x
}

# nothing_wrong STORE: every name leads to an image that verifies; the layout as a whole is valid.
nothing_wrong() {
    local name
    for name in $(corten --root "$1" images --format json | jq -r '.[].name'); do
        corten --root "$1" validate "$name" >validated 2>&1 || { cat validated; fail "\`$name\` after a kill"; }
    done
}

# nothing_left STORE: gc leaves no unfinished write.
nothing_left() {
    corten --root "$1" gc
    local left
    left=$(find "$1" -mindepth 2 \( -path "$1/ingest/*" -o -path "$1/layers/tmp/*" \) -prune -print)
    equal 'unfinished writes after gc' '' "$left"
    corten validate "oci:$1"
}

case_kill_import() {
    need_base
    local tar round
    tar=$(base_tar)
    for round in $(seq 7); do
        killed corten --root "$CASE/store" import "$tar" --tag base
        [[ ! -f store/index.json ]] || nothing_wrong "$CASE/store"
    done
    equal 'digest after all' "$(corten --root "$BASE_STORE" inspect --format json base | jq -r .digest)" \
        "$(corten --root "$CASE/store" import "$tar" --tag base)"
    nothing_wrong "$CASE/store"
    nothing_left "$CASE/store"
}

case_kill_pull() {
    need_base
    local round
    start_registry
    corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1"
    for round in $(seq 7); do
        MOMENT=300 killed corten --root "$CASE/store" pull "$REGISTRY/team/app:1"
        [[ ! -f store/index.json ]] || nothing_wrong "$CASE/store"
        # Every other round begins with nothing.
        ((round % 2)) || rm -rf store
    done
    equal 'digest after all' "$(app_digest)" "$(corten --root "$CASE/store" pull "$REGISTRY/team/app:1")"
    nothing_wrong "$CASE/store"
    nothing_left "$CASE/store"
}

case_kill_build() {
    need_base
    local round
    copy_base "$CASE/store"
    for round in $(seq 8); do
        SOURCE_DATE_EPOCH=$EPOCH MOMENT=900 killed corten --root "$CASE/store" build --tag app "$WORK/context"
        nothing_wrong "$CASE/store"
    done
    # Nothing that was started outlives its builder.
    equal 'processes left' '' "$(pgrep -f "^/.corten-\|$CASE/store" || true)"
    SOURCE_DATE_EPOCH=$EPOCH corten --root "$CASE/store" build --digest-file digest --tag app "$WORK/context"
    equal 'digest after all' "$(app_digest)" "$(cat digest)"
    equal 'what it says' "$APP_SAYS" "$(corten --root "$CASE/store" run app)"
    nothing_wrong "$CASE/store"
    nothing_left "$CASE/store"
    equal 'mounts left' '' "$(grep -F "$CASE/store" /proc/self/mounts || true)"
}

case_kill_build_whose_base_comes() {
    need_base
    local round
    start_registry
    corten --root "$BASE_STORE" push base "$REGISTRY/team/base:1"
    mkdir context
    {
        echo "FROM $REGISTRY/team/base:1 AS one"
        # More than fits into memory waits to be packed while the next step runs.
        echo 'RUN cp -a /usr /srv/usr'
        echo 'RUN echo two >/srv/two'
        echo 'FROM scratch'
        echo 'COPY --from=one /srv /srv'
    } >context/Dockerfile
    for round in $(seq 8); do
        SOURCE_DATE_EPOCH=$EPOCH MOMENT=2500 killed corten --root "$CASE/store" build --tag built context
        [[ ! -f store/index.json ]] || nothing_wrong "$CASE/store"
        # Every other round begins with nothing.
        ((round % 2)) || rm -rf store
    done
    equal 'processes left' '' "$(pgrep -f "^/.corten-\|$CASE/store" || true)"
    SOURCE_DATE_EPOCH=$EPOCH corten --root "$CASE/store" build --digest-file first --tag built context
    # A base that was pulled at once makes no difference.
    corten --root "$CASE/other" pull "$REGISTRY/team/base:1"
    SOURCE_DATE_EPOCH=$EPOCH corten --root "$CASE/other" build --digest-file second --tag built context
    equal 'digest after all' "$(cat second)" "$(cat first)"
    nothing_wrong "$CASE/store"
    nothing_left "$CASE/store"
    equal 'mounts left' '' "$(grep -F "$CASE/store" /proc/self/mounts || true)"
}

# A command finds all that a cache of RUN had, or nothing of it.
case_kill_prune() {
    need_base
    local round
    copy_base "$CASE/store"
    mkdir context
    printf '%s\n' 'FROM base' \
        'RUN --mount=type=cache,target=/c echo "found: $(ls /c | wc -l)"; cd /c && seq 30000 | xargs touch' >context/Dockerfile
    for round in $(seq 8); do
        corten --root "$CASE/store" build --no-cache --progress plain context 2>>log
        MOMENT=300 killed corten --root "$CASE/store" cache prune --all --kind mount
    done
    equal 'what commands found' '' "$(grep -a 'found: ' log | grep -vE 'found: (0|30000)$' | grep -v RUN || true)"
    corten --root "$CASE/store" cache prune --all --kind mount
    equal 'what is left' '' "$(ls -A store/run-caches)"
}
