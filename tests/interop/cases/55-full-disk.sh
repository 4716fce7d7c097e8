# shellcheck shell=bash disable=SC2154
# The disk is full at any moment of a build: it is told, with what to do; nothing is lost, and once there is
# space the same build succeeds.

# disk DIR SIZE: a file system of its own there.
disk() {
    need_root
    need mount
    mkdir -p "$1"
    mount -t tmpfs -o "size=$2" tmpfs "$1" || not_run 'nothing can be mounted here'
    # What runs in it is gone by then.
    trap 'end_started; umount --lazy "$CASE"/*.disk' EXIT
}

# room DIR BYTES: leaves so much of the disk.
room() {
    rm -f "$1/filler"
    local free
    free=$(($(stat -f -c '%a * %S' "$1") - $2))
    ((free <= 0)) || head -c "$free" /dev/zero >"$1/filler"
}

# told_full WHAT: `log` says that the disk is full, and what to do.
told_full() {
    ! grep -qa panicked log || { cat log; fail "$1: it panics"; }
    grep -qaE 'No space left on device|no space was left|no space is left' log || { tail -n 20 log; fail "$1: it does not say why"; }
    grep -qaE '^hint: .*corten gc' log || { tail -n 20 log; fail "$1: it does not say what to do"; }
}

# filling NAME STORE COMMAND...: runs it with ever more room on store.disk until it succeeds, then again with all;
# it prints a digest last.
filling() {
    { set +x; } 2>/dev/null
    local name=$1 room_left=0 status full=0 digest
    shift
    while true; do
        corten --root "$CASE/store.disk/store" cache prune --all >/dev/null
        corten --root "$CASE/store.disk/store" gc >/dev/null
        room "$CASE/store.disk" "$room_left"
        status=0
        "$@" >out 2>log || status=$?
        rm -f store.disk/filler
        corten --root "$CASE/store.disk/store" fsck >fsck 2>&1 || { cat fsck; fail "$name: fsck with $room_left bytes"; }
        ! grep -qE '^(damaged|missing|stray)' fsck || { cat fsck; fail "$name: fsck with $room_left bytes"; }
        equal "$name: what is left with $room_left bytes" '' "$(ls store.disk/store/layers/tmp)"
        corten --root "$CASE/store.disk/store" validate small 2>/dev/null || fail "$name: an image is lost"
        [[ $status != 0 ]] || break
        equal "$name: the status" 1 "$status"
        told_full "$name, $room_left bytes"
        full=$((full + 1))
        # From nothing, through what documents need, to what layers need.
        room_left=$((room_left < 65536 ? room_left + 16384 : room_left * 2))
    done
    digest=$(tail -n 1 out)
    corten --root "$CASE/store.disk/store" cache prune --all >/dev/null
    "$@" >out 2>log || { cat log; fail "$name: with all space"; }
    equal "$name: the digest" "$(tail -n 1 out)" "$digest"
    note "$name: full $full times, enough with $room_left bytes"
    ((full > 3)) || fail "$name: the disk was hardly ever full"
    set -x
}

# What does not compress is as large on the disk.
noise() { python3 -c "import random, sys; random.seed(7); sys.stdout.buffer.write(random.randbytes($1))"; }

case_disk_full_while_building() {
    disk "$CASE/store.disk" 96m
    small_base "$CASE/store.disk/store"
    local build=(corten --root "$CASE/store.disk/store" build -q --timestamp "$EPOCH") how
    mkdir copy run
    noise 3000000 >copy/noise
    printf 'FROM small\nCOPY noise /a\nRUN cat /a /a >/b\nCOPY noise /c\n' >copy/Dockerfile
    for how in root chroot; do
        filling "steps by $how" "${build[@]}" --isolation "$how" --tag built copy
    done
    filling 'squash' "${build[@]}" --squash --tag built copy
    filling 'cache' "${build[@]}" --tag built --cache-to "type=local,dest=$CASE/store.disk/cache,mode=max" copy
    filling 'tar' "${build[@]}" --tag built --output type=image --output "type=tar,dest=$CASE/store.disk/x.tar" copy
    equal 'unfinished' '' "$(compgen -G 'store.disk/*tmp*' || true)"
    # A command that fills it says nothing of its own.
    printf 'FROM small\nRUN dd if=/dev/zero of=/big bs=1M 2>/dev/null\n' >run/Dockerfile
    for how in root chroot; do
        ! "${build[@]}" --isolation "$how" run 2>log || fail 'all of it fits'
        told_full "a command, by $how"
        contains log "no space was left on the disk of \`$CASE/store.disk/store\`"
        equal "what is left" '' "$(ls store.disk/store/layers/tmp)"
    done
    # One that fails where there is space is not told that there is none.
    printf 'FROM small\nRUN false\n' >run/Dockerfile
    ! "${build[@]}" run 2>log || fail 'false is true'
    ! grep -q space log || { cat log; fail 'there is space'; }
}

# exported KIND PATH OPTION...: an output on a disk that is too small for it is not there at all.
exported() {
    local kind=$1 path=$2
    ! corten --root "$CASE/store" build -q --timestamp "$EPOCH" "${@:3}" context >out 2>log || fail "$kind: it fits"
    told_full "$kind"
    equal "$kind: what is on the disk" '' "$(find "out.disk" -mindepth 1 \( -path "out.disk/$path" -o -name '*tmp*' \) -type f)"
    find out.disk -mindepth 1 -delete
    corten --root "$CASE/store" build -q --timestamp "$EPOCH" --tag built context
    corten --root "$CASE/store" validate built
}

case_disk_full_where_results_go() {
    disk "$CASE/out.disk" 2m
    small_base "$CASE/store"
    mkdir context
    noise 3000000 >context/noise
    printf 'FROM small\nCOPY noise /a\n' >context/Dockerfile
    local kind
    for kind in tar oci docker; do
        exported "$kind" x.tar --output "type=$kind,dest=out.disk/x.tar"
    done
    exported local x --output type=local,dest=out.disk/x
    exported layout index.json --output type=oci-layout,dest=out.disk/layout
    exported cache layout/index.json --cache-to type=local,dest=out.disk/cache
}
