# shellcheck shell=bash disable=SC2154
# The store as its owner meets it: damaged, full, and used by many processes at once.

# blob STORE DIGEST: where it is.
blob() { echo "$1/blobs/${2/://}"; }

# flip FILE OFFSET: changes a byte.
flip() {
    chmod u+w "$1"
    printf '\x5a' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# code COMMAND...: prints what it ends with.
code() {
    local status=0
    "$@" >/dev/null 2>&1 || status=$?
    echo "$status"
}

case_fsck() {
    need_base
    need jq skopeo
    start_registry
    local store=$CASE/store name config layers manifest
    name=$REGISTRY/team/app:1
    corten --root "$BASE_STORE" push app "$name"
    corten --root "$store" pull "$name"
    equal 'a whole store' 0 "$(code corten --root "$store" fsck)"

    manifest=$(corten --root "$store" inspect --format json "$name" | jq -r .digest)
    config=$(jq -r .config.digest "$(blob "$store" "$manifest")")
    mapfile -t layers < <(jq -r '.layers[].digest' "$(blob "$store" "$manifest")")
    # Another tool, which does not verify, would go on with it.
    flip "$(blob "$store" "${layers[0]}")" 100000
    truncate --size -1 "$(blob "$store" "${layers[1]}")"
    rm -f "$(blob "$store" "$config")"
    equal 'fsck of a damaged store' 3 "$(code corten --root "$store" fsck --format json)"
    corten --root "$store" fsck --format json >found.json || true
    equal 'what is lost' 3 "$(jq '[.findings[] | select(.level == "damage" and (.neededBy | length) == 1)] | length' found.json)"
    equal 'who needs it' "$name" "$(jq -r '[.findings[].neededBy[].name] | unique[]' found.json)"
    equal 'nothing was changed' 3 "$(code corten --root "$store" fsck)"

    corten --root "$store" fsck --repair --refetch --format json >repaired.json
    equal 'what came back' 3 "$(jq '.repaired.refetched | length' repaired.json)"
    equal 'after the repair' 0 "$(code corten --root "$store" fsck)"
    corten --root "$store" validate "$name"
    skopeo copy --quiet "oci:$store:1" "oci:$CASE/copied:1"

    # Without a registry: from a layout, and not at all.
    corten --root "$BASE_STORE" copy app "oci:$CASE/elsewhere:app"
    flip "$(blob "$store" "$manifest")" 50
    flip "$(blob "$store" "${layers[0]}")" 100000
    equal 'nowhere to take it from' 3 "$(code corten --root "$store" fsck --repair)"
    [[ ! -e $(blob "$store" "${layers[0]}") ]] || fail 'the damaged blob is still found'
    corten --root "$store" fsck --repair --from "oci:$CASE/elsewhere"
    equal 'after that repair' 0 "$(code corten --root "$store" fsck)"
    corten --root "$store" gc
    equal 'what was set aside' '' "$(ls -A "$store/ingest")"
    corten --root "$store" validate "$name"

    # A pull replaces what is damaged, if it is asked to look.
    flip "$(blob "$store" "${layers[0]}")" 100000
    corten --root "$store" pull "$name"
    equal 'a pull that trusts' 3 "$(code corten --root "$store" fsck)"
    corten --root "$store" pull --verify "$name"
    equal 'a pull that verifies' 0 "$(code corten --root "$store" fsck)"

    # The names are gone, and the images are not.
    : >"$store/index.json"
    equal 'fsck without an index' 3 "$(code corten --root "$store" fsck)"
    corten --root "$store" fsck --repair
    corten --root "$store" gc
    corten --root "$store" tag "$manifest" back
    corten --root "$store" validate back
}

case_df() {
    need_base
    need jq
    local store=$CASE/store size on_disk
    cp -a "$BASE_STORE" "$store"
    # A second name, and a second file of the same bytes, take nothing.
    corten --root "$store" tag app again
    corten --root "$store" df --format json >df.json
    size=$(jq .size df.json)
    on_disk=$(du --block-size=1 -s "$store/blobs/sha256" "$store/ingest" "$store/cache" "$store/layers" |
        awk '{ total += $1 } END { print total }')
    # `du` counts the directories themselves, too.
    ((size <= on_disk && size > on_disk * 98 / 100)) || fail "df says $size, du $on_disk"
    # Other cases may have named more in the store.
    corten --root "$store" images --format json >images.json
    equal 'images' "$(jq '[.[].digest] | unique | length' images.json)" "$(jq '.images | length' df.json)"
    equal 'names' "$(jq length images.json)" "$(jq '[.images[].names[]] | length' df.json)"
    equal 'parts of each image' true "$(jq 'all(.images[]; .size == .shared + .unique)' df.json)"

    corten --root "$store" rm app again
    corten --root "$store" df --format json >before.json
    local free_before free_after
    sync --file-system "$store"
    free_before=$(du --block-size=1 -s "$store" | cut -f 1)
    corten --root "$store" gc --cache
    free_after=$(du --block-size=1 -s "$store" | cut -f 1)
    local promised=$(($(jq .reclaimable before.json) + $(jq .reclaimableCache before.json)))
    ((free_before - free_after >= promised * 98 / 100)) ||
        fail "df promised $promised, gc gave back $((free_before - free_after))"
    corten --root "$store" gc --derived
    equal 'derived' 0 "$(corten --root "$store" df --format json | jq '[.kinds[] | select(.kind | startswith("layers/")) | .size] | add // 0')"
    corten --root "$store" validate base
}

# A disk that is too small: says so, shows nothing half done, and can be made empty again.
case_full_disk() {
    need_base
    need jq
    local disk=$CASE/disk tar status
    mkdir "$disk"
    mount -t tmpfs -o size=48m,nr_inodes=20000 tmpfs "$disk"
    local store=$disk/store
    printf 'small' >small && tar -cf small.tar small
    corten --root "$store" import small.tar --tag small
    start_registry
    corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1"
    tar=$(base_tar)

    printf 'FROM small\nCOPY large /large\n' >Dockerfile
    head -c 60000000 /dev/urandom >large
    local -A commands=(
        [import]="import $tar --tag base"
        [pull]="pull $REGISTRY/team/app:1"
        [build]="build --tag app $CASE"
    )
    for verb in import pull build; do
        # shellcheck disable=SC2086
        status=$(corten --root "$store" ${commands[$verb]} >"$verb.log" 2>&1 && echo 0 || echo $?)
        equal "$verb on a full disk" 1 "$status"
        contains "$verb.log" 'No space left on device'
        contains "$verb.log" "$store"
        contains "$verb.log" "are free on the file system of"
        equal "names after $verb" 1 "$(corten --root "$store" images --format json | jq length)"
        equal "fsck after $verb" 0 "$(code corten --root "$store" fsck)"
        corten --root "$store" validate small
    done
    # Not a block is left, and gc takes none.
    corten --root "$store" copy "oci:$BASE_STORE:docker.io/library/base:latest" base 2>/dev/null || true
    head -c 1000 /dev/zero >"$store/ingest/.tmp-left"
    cat /dev/zero >"$disk/filler" 2>/dev/null || true
    equal 'free blocks' 0 "$(stat --file-system --format %a "$disk")"
    corten --root "$store" df >/dev/null
    corten --root "$store" gc
    equal 'unfinished writes' '' "$(ls -A "$store/ingest")"
    rm "$disk/filler"
    corten --root "$store" validate small
    corten --root "$store" fsck
    umount "$disk"
}

# Processes that pull, import, name, remove and collect, on one store.
case_many_processes() {
    need_base
    local store=$CASE/store pids=() pid round
    start_registry
    corten --root "$BASE_STORE" push app "$REGISTRY/team/app:1"
    corten --root "$BASE_STORE" push base "$REGISTRY/team/base:1"
    printf 'one' >one && tar -cf one.tar one
    { set +x; } 2>/dev/null
    work() { # NUMBER
        local name
        for round in 1 2 3; do
            name=w$1-$round
            case $((($1 + round) % 4)) in
                0) corten --root "$store" pull -q "$REGISTRY/team/app:1" ;;
                1) corten --root "$store" pull -q "$REGISTRY/team/base:1" ;;
                2) corten --root "$store" import -q "$CASE/one.tar" --tag "$name-import" ;;
                3) corten --root "$store" copy -q "docker://$REGISTRY/team/app:1" "$name" ;;
            esac
            corten --root "$store" import -q "$CASE/one.tar" --tag "$name"
            corten --root "$store" tag "$name" "$name-again"
            corten --root "$store" rm "$name"
        done
    }
    collect() {
        while [[ ! -e $CASE/done ]]; do
            corten --root "$store" gc >/dev/null
            corten --root "$store" fsck -q >"$CASE/fsck-beside" || return 1
        done
    }
    for number in 1 2 3 4; do
        (set -e; work "$number") >"worker-$number" 2>&1 &
        pids+=($!)
    done
    until [[ -f $store/index.json ]]; do sleep 0.05; done
    (set -e; collect) >collector 2>&1 &
    local collector=$!
    for pid in "${pids[@]}"; do
        wait "$pid" || { cat worker-*; fail 'a worker failed'; }
    done
    touch done
    wait "$collector" || { cat collector fsck-beside; fail 'the collector failed'; }
    set -x
    # Each of twelve rounds leaves a second name.
    equal 'names' 12 "$(corten --root "$store" images --format json | jq '[.[].name | select(endswith("-again:latest"))] | length')"
    corten --root "$store" gc
    corten --root "$store" fsck --format json >found.json
    equal 'findings' 0 "$(jq '.findings | length' found.json)"
    corten validate "oci:$store"
}
