# shellcheck shell=bash disable=SC2154
# Caches in registries and directories: another machine builds nothing and transfers nothing.

cache_context() {
    mkdir -p context/src
    echo one >context/src/a
    printf 'FROM base AS build\nARG V=1\nCOPY src /src\nRUN echo $V | cat - /src/a >/built\n' >context/Dockerfile
    printf 'FROM base\nWORKDIR /app\nCOPY --from=build /built /app/\n' >>context/Dockerfile
}

case_a_registry_is_a_cache() {
    need_base
    start_registry
    cache_context
    copy_base "$CASE/one"
    copy_base "$CASE/two"
    corten --root "$CASE/one" build --timestamp "$EPOCH" --digest-file first -t "$REGISTRY/team/app:1" --push \
        --cache-to "type=registry,ref=$REGISTRY/team/cache,mode=max" context
    skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/team/cache:latest" >manifest
    equal 'type of the cache' application/vnd.corten.cache.v1 "$(jq -r .artifactType manifest)"
    corten --root "$CASE/two" build --timestamp "$EPOCH" --digest-file second -t "$REGISTRY/team/app:2" --push \
        --cache-from "$REGISTRY/team/cache" context 2>log
    equal 'digest by the cache' "$(cat first)" "$(cat second)"
    equal 'steps that were cached' 4 "$(grep -c ' CACHED$' log)"
    # The layers were in the repository already, and none of them came here.
    if grep -q ' copied ' log; then grep ' copied ' log; fail 'something was sent again'; fi
    while read -r layer; do
        [[ ! -e $CASE/two/blobs/${layer/:/\/} ]] || fail "$layer was fetched"
    done < <(jq -r '.layers[].digest' manifest)
    # A change at the end needs what is beneath it, and nothing else.
    sed -i 's/WORKDIR/LABEL a=b\nWORKDIR/' context/Dockerfile
    printf 'RUN cat /app/built >/again\n' >>context/Dockerfile
    corten --root "$CASE/two" build --timestamp "$EPOCH" -t app --cache-from "$REGISTRY/team/cache" context 2>log
    equal 'steps that were cached' 4 "$(grep -c ' CACHED$' log)"
    equal 'what it holds' "1 one" "$(corten --root "$CASE/two" cat app /again | tr '\n' ' ' | sed 's/ $//')"
}

case_writers_of_a_directory_take_turns() {
    need_base
    cache_context
    local number pids=()
    for number in 1 2 3 4; do
        copy_base "$CASE/store$number"
        corten --root "$CASE/store$number" build --timestamp "$EPOCH" --build-arg "V=$number" \
            --cache-to "type=local,dest=$CASE/cache,mode=max" context &
        pids+=($!)
    done
    for number in "${pids[@]}"; do wait "$number"; done
    copy_base "$CASE/reader"
    for number in 1 2 3 4; do
        corten --root "$CASE/reader" build --timestamp "$EPOCH" --build-arg "V=$number" \
            --cache-from "type=local,src=$CASE/cache" context 2>log
        equal "steps that were cached with V=$number" 4 "$(grep -c ' CACHED$' log)"
    done
    corten validate "oci:$CASE/cache" || note 'a cache is no image'
}

case_a_miss_is_explained() {
    need_base
    cache_context
    copy_base "$CASE/store"
    corten --root "$CASE/store" build context
    echo two >context/src/a
    corten --root "$CASE/store" build --explain --build-arg V=7 context 2>log
    # What b3sum says of `one` and `two`.
    contains log "not cached: file \`src/a\`: blake3:e0e63aa4c8e1ed796cb104d8a074e553c99fff18d140e886667013ef2780ae23 became blake3:ef40086ad8a395c7a05b5f70cf2575ad187f637ad813136292cb39610694db73"
    contains log 'not cached: variable V: `1` became `7`'
    corten --root "$CASE/store" cache ls >listed
    equal 'records' 9 "$(grep -c ' ago' listed)"
    corten --root "$CASE/store" cache rm "$(awk 'NR == 2 { print $1 }' listed)"
    equal 'records' 8 "$(corten --root "$CASE/store" cache ls --format json | jq '.records | length')"
    equal 'records forgotten' 8 "$(corten --root "$CASE/store" cache prune --keep-storage 0 --format json | jq .records)"
}

case_what_mounts_of_run_hold_goes_through_a_registry() {
    need_base
    start_registry
    mkdir context
    printf 'FROM base\nRUN --mount=type=cache,target=/c echo x >>/c/f; echo "lines: $(wc -l </c/f)"\n' >context/Dockerfile
    local at=type=registry,ref=$REGISTRY/team/cache,mounts=true name
    for name in one two; do
        copy_base "$CASE/$name"
        corten --root "$CASE/$name" build --no-cache --progress plain --cache-from "$at" --cache-to "$at" context 2>log
    done
    contains log 'lines: 2'
    skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/team/cache:latest-mounts" >manifest
    equal 'type of the mounts' application/vnd.corten.run-caches.v1 "$(jq -r .artifactType manifest)"
    equal 'mounts' 1 "$(jq '.layers | length' manifest)"
    equal 'what was taken' '/c: made' "$(corten --root "$CASE/three" cache import --from "$REGISTRY/team/cache")"
    equal 'what is there' 2 "$(cat "$CASE"/three/run-caches/sha256-*/0/f | wc -l)"
}

# As where an image of a container has a warm store: what lies below can be removed and not renamed.
case_caches_of_a_lower_layer_are_removed() {
    need_base
    local dir=$CASE/overlay store=$CASE/overlay/store
    mkdir -p "$dir"
    mount -t tmpfs tmpfs "$dir"
    mkdir "$dir/lower" "$dir/upper" "$dir/work" "$store" context
    copy_base "$dir/lower"
    printf 'FROM base\nRUN --mount=type=cache,target=/a --mount=type=cache,target=/b echo x >/a/f; echo x >/b/f\n' >context/Dockerfile
    corten --root "$dir/lower" build context
    corten --root "$dir/lower" cache export --to "type=local,dest=$CASE/kept"
    mount -t overlay -o "redirect_dir=off,lowerdir=$dir/lower,upperdir=$dir/upper,workdir=$dir/work" overlay "$store"
    corten --root "$store" cache import --replace --from "type=local,src=$CASE/kept"
    equal 'replaced' 2 "$(corten --root "$store" cache ls --kind mount --format json | jq '.mounts | length')"
    umount "$store"
    rm -r "$dir/upper" "$dir/work" && mkdir "$dir/upper" "$dir/work"
    mount -t overlay -o "redirect_dir=off,lowerdir=$dir/lower,upperdir=$dir/upper,workdir=$dir/work" overlay "$store"
    equal 'removed' 2 "$(corten --root "$store" cache prune --all --kind mount --format json | jq .mounts)"
    equal 'left' '' "$(ls -A "$store/run-caches")"
    corten --root "$store" gc
    umount "$store"
    umount "$dir"
}
