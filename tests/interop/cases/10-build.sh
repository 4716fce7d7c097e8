# shellcheck shell=bash disable=SC2154
# Building: the same image whoever builds it, wherever, and how often.

case_build_is_the_same_in_a_fresh_store() {
    need_base
    copy_base "$CASE/fresh"
    SOURCE_DATE_EPOCH=$EPOCH corten --root "$CASE/fresh" build --digest-file digest --tag app "$WORK/context"
    equal 'digest in a fresh store' "$(app_digest)" "$(cat digest)"
    SOURCE_DATE_EPOCH=$EPOCH corten --root "$CASE/fresh" build --no-cache --digest-file digest "$WORK/context"
    equal 'digest without the cache' "$(app_digest)" "$(cat digest)"
    corten --root "$CASE/fresh" validate app
    equal 'what it says' "$APP_SAYS" "$(corten --root "$CASE/fresh" run app)"
}

case_build_by_an_ordinary_user_is_the_same() {
    need_base
    local user
    user=$(new_user)
    copy_base "$CASE/store"
    cp -r "$WORK/context" "$CASE/context"
    chown -R "$user" "$CASE/store" "$CASE/context"
    "$HERE/as-user" "$user" corten doctor || not_run "this machine: $("$HERE/as-user" "$user" corten doctor | tail -n 3 | tr '\n' ' ')"
    "$HERE/as-user" "$user" SOURCE_DATE_EPOCH="$EPOCH" corten --root "$CASE/store" build --digest-file "$CASE/context/digest" \
        --tag app "$CASE/context"
    equal 'digest as an ordinary user' "$(app_digest)" "$(cat context/digest)"
    equal 'what it says' "$APP_SAYS" "$("$HERE/as-user" "$user" corten --root "$CASE/store" run app)"
    "$HERE/as-user" "$user" corten --root "$CASE/store" gc --cache
    # What is removed are files of other users, too.
    "$HERE/as-user" "$user" corten --root "$CASE/store" rm app base
    "$HERE/as-user" "$user" corten --root "$CASE/store" gc
}

case_buildah_builds_the_same_files() {
    need_base
    need buildah
    corten --root "$BASE_STORE" save --format oci-archive -o base.tar base
    containers_conf
    peer_buildah pull --quiet --signature-policy policy.json oci-archive:base.tar >id
    # buildah 1.28 knows no heredoc.
    mkdir context
    cp "$WORK/context"/{report.pl,numbers} context/
    awk '/^RUN <<EOT/ { print "RUN perl -ne '\''$sum += $_; END { print \"$sum\\n\" }'\'' numbers >/tmp/sum"; inside = 1; next }
         inside { if ($0 == "EOT") inside = 0; next } { print }' "$WORK/context/Dockerfile" >context/Dockerfile
    peer_buildah bud --isolation chroot --signature-policy policy.json --build-arg BASE="$(tail -n 1 id)" \
        --build-arg SOURCE_DATE_EPOCH="$EPOCH" --timestamp "$EPOCH" --tag app context
    peer_buildah push --signature-policy policy.json app oci:theirs:app
    SOURCE_DATE_EPOCH=$EPOCH corten --root "$CASE/store" build --build-context base="oci:$BASE_STORE:docker.io/library/base:latest" \
        --output type=oci-layout,dest=ours context
    corten --root "$CASE/store" unpack oci:theirs:app theirs-bundle
    corten --root "$CASE/store" unpack oci:ours ours-bundle
    # Times are not compared: buildah's --timestamp sets them all, ours none that is earlier.
    (cd theirs-bundle/rootfs && find . -printf '%P %y %m %U:%G %l\n' | sort) >theirs.list
    (cd ours-bundle/rootfs && find . -printf '%P %y %m %U:%G %l\n' | sort) >ours.list
    # buildah 1.28 leaves an empty file behind where it mounts one.
    sed -i '/^etc\/hosts f 755 /d' theirs.list
    diff theirs.list ours.list
    (cd theirs-bundle/rootfs && find . -type f -print0 | grep -zv '^\./etc/hosts$' | sort -z | xargs -0 sha256sum) >theirs.sums
    (cd ours-bundle/rootfs && find . -type f -print0 | grep -zv '^\./etc/hosts$' | sort -z | xargs -0 sha256sum) >ours.sums
    diff theirs.sums ours.sums
}

case_two_builds_at_once_on_one_store() {
    need_base
    copy_base "$CASE/store"
    local pids=() number
    for number in 1 2 3; do
        SOURCE_DATE_EPOCH=$EPOCH corten --root "$CASE/store" build --no-cache --digest-file "digest$number" \
            --tag "app:$number" "$WORK/context" >"log$number" 2>&1 &
        pids+=($!)
    done
    for number in 1 2 3; do
        wait "${pids[number - 1]}" || { cat "log$number"; fail "build $number of those at once"; }
        equal "digest of build $number" "$(app_digest)" "$(cat "digest$number")"
    done
    corten --root "$CASE/store" validate oci:store
}

case_a_store_may_be_named_by_a_relative_path() {
    need_base
    copy_base store
    SOURCE_DATE_EPOCH=$EPOCH corten --root store build --no-cache --tag app "$WORK/context"
    equal 'what it says' "$APP_SAYS" "$(corten --root store run app)"
}
