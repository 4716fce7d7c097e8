# shellcheck shell=bash disable=SC2154
# Killed at each line that a build reports, with all that a build can do at once: what is visible is right,
# gc takes the rest, and the same build succeeds.

# everything DIR: a context whose build repeats bit for bit, on busybox alone.
everything() {
    small_base "$CASE/store"
    mkdir -p "$1"
    seq 200000 >"$1/numbers"
    cat >"$1/Dockerfile" <<'DOCKERFILE'
FROM --platform=$BUILDPLATFORM small AS tools
RUN --mount=type=cache,id=kept,target=/kept seq 100000 >/kept/numbers && seq 300000 >/made
FROM --platform=$BUILDPLATFORM tools AS more
RUN --mount=type=secret,id=s cat /made /made >/more && (setsid sleep 4714 &)
FROM scratch AS result
COPY numbers /
COPY --from=more /more /
COPY --from=tools /made /
FROM scratch AS other
COPY --from=tools /made /other
DOCKERFILE
}

# same_again WHAT: the first digest of this name is what the others must be.
same_again() {
    local found
    found=$(jq -cS '[.. | objects | ."containerimage.digest" // empty]' metadata.json)
    [[ $found == *sha256:* ]] || { cat metadata.json; fail "$1: there is no digest"; }
    [[ -f digest.$1 ]] || echo "$found" >"digest.$1"
    equal "digest of $1" "$(cat "digest.$1")" "$found"
}

# sound STORE: what has a name verifies, nothing runs, nothing is mounted.
sound() {
    { set +x; } 2>/dev/null
    corten --root "$1" fsck >fsck 2>&1 || { cat fsck; fail "fsck of $1"; }
    ! grep -qE '^(damaged|missing|stray)' fsck || { cat fsck; fail "fsck of $1"; }
    # Who was to be ended with the build is reaped soon after.
    until_true 5 ends 4714 || fail 'a command of the build is left'
    equal 'mounts left' '' "$(grep -F "$CASE" /proc/self/mounts || true)"
}

ends() { ! grep -qaz "^$1\$" /proc/[0-9]*/cmdline 2>/dev/null; }

# swept STORE: gc leaves no unfinished write, and no directory of a build.
swept() {
    corten --root "$1" gc >/dev/null
    local left
    left=$(find "$1" -mindepth 2 \( -path "$1/ingest/*" -o -path "$1/layers/tmp/*" -o -path "$1/contexts/*/*" \) -prune -print)
    equal 'unfinished writes after gc' '' "$left"
}

# each_line NAME STEP OPTION...: kills the build with these options at every STEPth line of its progress, in a
# store without its results; FILES are the outputs, which are there as a whole or not at all.
each_line() {
    { set +x; } 2>/dev/null
    local name=$1 step=$2 line=1 status
    shift 2
    local build=(corten --root "$CASE/store" build --progress json --timestamp "$EPOCH" --secret id=s,env=SECRET
        --metadata-file metadata.json "$@" context)
    while true; do
        # shellcheck disable=SC2086
        rm -rf $FILES cache-out metadata.json
        corten --root "$CASE/store" cache prune --all >/dev/null
        swept "$CASE/store"
        status=0
        SECRET=hush python3 "$HERE/files/kill-at.py" "$line" KILL "${build[@]}" >killed || status=$?
        [[ $status == [03] ]] || fail "kill-at: $status"
        whole "$name" "$line"
        sound "$CASE/store"
        [[ $status == 0 ]] || break
        # Every other time the store is swept first.
        ((line / step % 2)) || swept "$CASE/store"
        # A directory that is whole is not written into.
        # shellcheck disable=SC2086
        rm -rf $FILES
        SECRET=hush "${build[@]}" >again 2>&1 || { tail -n 5 again; fail "$name: the build after line $line"; }
        same_again "$name"
        whole "$name" again
        line=$((line + step))
    done
    note "$name: killed at each of $((line - 1)) lines, by $step"
    swept "$CASE/store"
}

# whole NAME LINE: an output that is there is what the first whole build wrote; half of one has no name.
whole() {
    local file found
    for file in $FILES metadata.json; do
        [[ -e $file ]] || continue
        case $file in
            *.tar) tar -tf "$file" >/dev/null 2>&1 || fail "$1, line $2: half of $file has its name" ;;
            metadata.json) jq -e . "$file" >/dev/null || fail "$1, line $2: half of $file" ;;
            *)
                found=$(find "$file" -type f -exec sha256sum {} + | sort | sha256sum)
                [[ -f sum.$file ]] || { [[ $2 == again ]] && echo "$found" >"sum.$file"; } || continue
                equal "$1, line $2: $file" "$(cat "sum.$file")" "$found"
                ;;
        esac
    done
    # What is unfinished has a name of its own, beside.
    rm -rf ./*.corten-tmp-* ./.tmp-*
}

case_kill_at_each_line_of_a_build_for_a_registry() {
    need_root
    need python3 jq busybox
    start_registry
    everything context
    FILES=''
    each_line registry 4 --platform linux/amd64,linux/arm64 --target result --provenance=mode=max \
        --output "type=registry,name=$REGISTRY/team/app:1" \
        --cache-to "type=registry,ref=$REGISTRY/team/cache:1,mode=max,mounts=true"
    # What the registry names is there as a whole.
    corten --root "$CASE/other" pull --platform linux/arm64 "$REGISTRY/team/app:1"
    corten --root "$CASE/other" validate "$REGISTRY/team/app:1"
}

case_kill_at_each_line_of_a_build_for_files() {
    need_root
    need python3 jq busybox
    everything context
    FILES='root root.tar oci.tar docker.tar'
    each_line files 4 --target result --squash --tag built --output type=image --output type=local,dest=root \
        --output type=tar,dest=root.tar --output type=oci,dest=oci.tar --output type=docker,dest=docker.tar \
        --cache-to type=local,dest=cache-out,mode=max,mounts=true
    corten --root "$CASE/store" validate built
    corten validate oci-archive:oci.tar
}

case_kill_at_each_line_of_a_build_of_several_targets() {
    need_root
    need python3 jq busybox
    everything context
    FILES=''
    each_line targets 4 --isolation chroot --target result=one --target other=two
    corten --root "$CASE/store" validate one
    corten --root "$CASE/store" validate two
}

# Ctrl-C at each line, whatever the build is at: it ends within a second, and nothing but what gc knows is left.
case_ctrl_c_at_each_line_of_a_build() {
    need_root
    need python3 jq busybox
    start_registry
    everything context
    corten --root "$CASE/store" push small "$REGISTRY/team/small:1" >/dev/null
    sed -i "s|small AS|$REGISTRY/team/small:1 AS|" context/Dockerfile
    { set +x; } 2>/dev/null
    local line=1 status took exit_status said longest=0 how
    for how in root chroot; do
        line=1
        while true; do
            rm -rf fresh root ./*.tar
            status=0
            SECRET=hush python3 "$HERE/files/kill-at.py" "$line" INT corten --root "$CASE/fresh" build --no-cache \
                --isolation "$how" --progress json --secret id=s,env=SECRET --target result --squash \
                --output "type=registry,name=$REGISTRY/team/app:$how" --output type=local,dest=root \
                --output type=tar,dest=root.tar --output type=oci,dest=oci.tar context >killed || status=$?
            [[ $status == [03] ]] || fail "kill-at: $status"
            [[ $status == 0 ]] || break
            read -r took exit_status said <killed
            # It may have been done when it was told.
            if [[ $exit_status != 0 ]]; then
                equal "status at $said" -2 "$exit_status"
                equal "$how, $said: what is left" '' "$(ls fresh/layers/tmp 2>/dev/null || true)"
                equal "$how, $said: outputs" '' "$(compgen -G '*corten-tmp*' || true)$(compgen -G '.tmp-*' || true)"
                [[ ! -e root || $(find root -name numbers -size +1M) ]] || fail "$said: half a directory is left"
                ((took <= longest)) || { longest=$took; note "$how: $took ms at $said"; }
                ((took < 1000)) || fail "$how: it took $took ms to end at $said"
            fi
            ends 4714 || fail "$how, $said: a command of the build is left"
            equal 'mounts left' '' "$(grep -F "$CASE" /proc/self/mounts || true)"
            line=$((line + 3))
        done
        note "$how: interrupted at each of $line lines, by 3; the longest took $longest ms"
    done
}
