# shellcheck shell=bash disable=SC2154
# Images mounted on a directory, by every kind.

# mounted_as DIR: the type of what is mounted there, and how it can be used.
mounted_as() { findmnt --noheadings --raw --output FSTYPE,VFS-OPTIONS --mountpoint "$1" | sed 's/,.*//'; }

# nothing_kept STORE: after gc of a store without images nothing is left of layers and mounts.
nothing_kept() {
    corten --root "$1" gc --cache
    equal 'what is left after gc' '' "$(find "$1/layers" "$1/locks/mounts" -mindepth 2 -print 2>/dev/null)"
}

case_every_kind_mounts_what_umoci_unpacks() {
    need_base
    need umoci python3 findmnt
    corten --root "$BASE_STORE" copy app oci:layout:app
    umoci unpack --image layout:app theirs
    mkdir here
    local kind how expected
    for kind in erofs overlay plain; do
        for how in '' --writable; do
            # A store of its own, so that no other kind can show through.
            corten --root "$CASE/$kind$how" copy oci:layout:app app >/dev/null
            # shellcheck disable=SC2086
            equal 'kind' "$kind" \
                "$(corten --root "$CASE/$kind$how" mount --kind $kind $how --format json app here | jq -r .kind)"
            case $kind$how in
                erofs) expected='erofs ro' ;;
                overlay) expected='overlay ro' ;;
                *--writable) expected=' rw' ;;
                plain) expected=' ro' ;;
            esac
            [[ "$(mounted_as here)" == *"$expected" ]] || fail "$kind $how is mounted as \`$(mounted_as here)\`"
            [[ -d $kind$how/layers/dir ]] && equal 'directories are for' overlay "$kind"
            same_tree theirs/rootfs here
            # What the image starts works there.
            equal 'a program' "$(cat here/etc/debian_version)" "$(chroot here cat /etc/debian_version)"
            if [[ $how == --writable ]]; then
                echo changed >here/etc/debian_version
                rm -r here/etc/dpkg
            fi
            corten --root "$CASE/$kind$how" umount here
            equal 'left in the directory' '' "$(ls here)"
            equal 'left in the store' '' "$(find "$kind$how/layers/tmp" -mindepth 1)"
        done
    done
}

case_gc_beside_a_mount() {
    need_base
    local kind
    mkdir here
    for kind in erofs overlay plain; do
        copy_base "$CASE/$kind"
        corten --root "$CASE/$kind" mount --kind "$kind" --writable base here
        (cd here && find etc usr/bin -type f -exec sha256sum {} + | sort) >before
        corten --root "$CASE/$kind" rm base
        corten --root "$CASE/$kind" gc --cache
        sync
        echo 3 >/proc/sys/vm/drop_caches
        (cd here && find etc usr/bin -type f -exec sha256sum {} + | sort) >after
        cmp before after || fail "gc took what the mount by $kind needs"
        corten --root "$CASE/$kind" umount here
        nothing_kept "$CASE/$kind"
    done
}

case_gc_beside_a_mount_of_another_namespace() {
    need_base
    need unshare
    mkdir here
    copy_base "$CASE/store"
    mkfifo mounted go
    # shellcheck disable=SC2016
    unshare --mount sh -c 'corten --root store mount --kind overlay base here
        echo >mounted; read -r _ <go; cat here/etc/debian_version >read' &
    started+=($!)
    read -r _ <mounted
    equal 'mounted here' '' "$(mounted_as here)"
    corten --root "$CASE/store" rm base
    corten --root "$CASE/store" gc --cache
    echo >go
    wait "${started[-1]}" || fail 'the mount lost its files'
    equal 'a file of it' 12 "$(sed 's/\..*//' read)"
}

case_a_mount_that_was_killed_leaves_nothing() {
    need_base
    mkdir here
    local round delay
    for round in $(seq 6); do
        copy_base "$CASE/store"
        delay=$(printf '0.%03d' $((RANDOM % 600)))
        timeout --signal KILL "$delay" corten --root "$CASE/store" mount --writable base here || true
        corten --root "$CASE/store" rm base
        if [[ -n "$(mounted_as here)" ]]; then
            corten --root "$CASE/store" gc --cache
            equal 'a file of it' "$(cat here/etc/debian_version)" "$(chroot here cat /etc/debian_version)"
            corten --root "$CASE/store" umount here
        fi
        nothing_kept "$CASE/store"
    done
}

case_mistakes_with_mounts_are_told() {
    need_base
    mkdir here other
    local user
    ! corten --root "$BASE_STORE" umount here 2>told || fail 'nothing was mounted'
    contains told 'nothing is mounted on'
    mount -t tmpfs none other
    ! corten --root "$BASE_STORE" umount other 2>told || fail 'it was not ours'
    umount other
    contains told 'is no image of this store'
    corten --root "$BASE_STORE" mount base here
    ! corten --root "$BASE_STORE" mount base here 2>told || fail 'it was mounted'
    contains told 'hint: unmount it with `corten umount '
    (cd here && ! corten --root "$BASE_STORE" umount "$CASE/here" 2>"$CASE/told") || fail 'it was in use'
    contains told 'is in use'
    corten --root "$BASE_STORE" umount here
    user=$(new_user)
    ! "$HERE/as-user" "$user" corten mount base here 2>told || fail 'it takes root'
    contains told 'hint: run it as root, or write the files out with `corten unpack --rootless'
}

case_run_uses_an_index() {
    need_base
    copy_base "$CASE/store"
    corten --root "$CASE/store" -v run base cat /etc/debian_version 2>told
    contains told 'root: erofs'
    [[ ! -e store/layers/dir ]] || fail 'it was unpacked, too'
    # Several at once, each with changes of its own.
    local number
    for number in 1 2 3; do
        corten --root "$CASE/store" run base sh -c "echo $number >/etc/issue; sleep 0.2; cat /etc/issue" >"said$number" &
    done
    wait
    equal 'what they say' '1 2 3 ' "$(cat said1 said2 said3 | tr '\n' ' ')"
}
