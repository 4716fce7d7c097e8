# shellcheck shell=bash disable=SC2154
# Bundles, and the runtimes that start them.

case_umoci_unpacks_the_same_tree() {
    need_base
    need umoci python3
    umoci unpack --image "$BASE_STORE:docker.io/library/app:latest" theirs 2>umoci.log || {
        # umoci takes tags alone, and the store's are full names.
        corten --root "$BASE_STORE" copy app oci:layout:app
        umoci unpack --image layout:app theirs
    }
    corten --root "$BASE_STORE" unpack app ours
    same_tree theirs/rootfs ours/rootfs
}

case_runc_runs_the_bundle() {
    need_base
    need runc
    corten --root "$BASE_STORE" unpack app bundle
    equal 'what it says under runc' "$APP_SAYS" \
        "$(runc --root "$CASE/runc" run --bundle bundle "corten-$$" </dev/null)"
}

case_crun_runs_the_bundle() {
    need_base
    need crun
    corten --root "$BASE_STORE" unpack app bundle
    equal 'what it says under crun' "$APP_SAYS" \
        "$(one_cgroup_version crun --root "$CASE/crun" --cgroup-manager cgroupfs \
            run --bundle bundle "corten-$$" </dev/null)"
}

case_a_rootless_bundle_runs() {
    need_base
    need crun
    local user uid
    user=$(new_user)
    uid=$(id -u "$user")
    "$HERE/as-user" "$user" corten doctor >/dev/null || not_run 'this machine allows users no namespaces'
    mkdir own runtime context
    printf 'FROM base\nCMD ["id", "-u"]\n' >context/Dockerfile
    copy_base "$CASE/store"
    corten --root "$CASE/store" build -o "type=oci-layout,dest=$CASE/layout" context
    chown -R "$user" own runtime layout
    chmod 700 runtime
    "$HERE/as-user" "$user" corten --root "$CASE/own/store" unpack --rootless "oci:$CASE/layout" "$CASE/own/bundle"
    equal 'owner of the files' "$uid" "$(stat -c %u own/bundle/rootfs/etc/passwd)"
    equal 'what is recorded of /etc/shadow' \
        "./etc/shadow type=file uid=0 gid=$(awk -F: '$1 == "shadow" { print $3 }' own/bundle/rootfs/etc/group) mode=0640" \
        "$(grep '^./etc/shadow ' own/bundle/owners.mtree)"
    equal 'mode of su on the disk' 755 "$(stat -c %a own/bundle/rootfs/usr/bin/su)"
    equal 'who it runs as' 0 "$(one_cgroup_version "$HERE/as-user" "$user" XDG_RUNTIME_DIR="$CASE/runtime" \
        crun --root "$CASE/runtime" --cgroup-manager disabled run --bundle "$CASE/own/bundle" "corten-$$" </dev/null)"
}

case_skopeo_and_umoci_layouts_validate() {
    need_base
    need skopeo umoci
    corten --root "$BASE_STORE" copy app oci:ours:app
    containers_conf
    skopeo copy --policy policy.json oci:ours:app oci:theirs:app
    equal 'digest of the copy' "$(app_digest)" "$(jq -r '.manifests[0].digest' theirs/index.json)"
    # umoci adds a layer of its own to ours.
    umoci unpack --image theirs:app bundle
    echo more >bundle/rootfs/etc/more
    umoci repack --image theirs:more bundle
    corten validate oci:theirs
    corten --root "$CASE/store" unpack oci:theirs:more again
    equal 'what umoci added' more "$(cat again/rootfs/etc/more)"
}

# edit_root ROOT: the same edits for each tool. Times are whole seconds: umoci 0.4.7 cuts the rest off.
edit_root() {
    local root=$1
    touch --date '1 second ago' before
    echo changed >>"$root/etc/hostname.conf"
    echo longer >>"$root/etc/debian_version"
    rm -r "$root/usr/share/zoneinfo"
    rm "$root/etc/issue"
    mkdir "$root/etc/issue"
    mkdir -p "$root/srv/new/deep"
    seq 1000 >"$root/srv/new/deep/file"
    ln "$root/srv/new/deep/file" "$root/srv/new/too"
    ln -s ../../.. "$root/srv/new/up"
    mkfifo "$root/srv/new/pipe"
    mknod "$root/srv/new/null" c 1 3
    chmod 4711 "$root/bin/true"
    chown 12:34 "$root/srv/new/deep"
    setfattr -n user.note -v value "$root/srv/new/deep/file" 2>/dev/null || true
    find "$root" -newer before -exec touch --no-dereference --date @1704067400 {} +
}

case_repack_agrees_with_umoci() {
    need_base
    need umoci python3
    corten --root "$BASE_STORE" copy app oci:layout:app
    corten --root "$CASE/store" unpack oci:layout:app ours
    umoci unpack --image layout:app theirs
    edit_root ours/rootfs
    edit_root theirs/rootfs
    corten --root "$CASE/store" repack ours edited --from oci:layout:app --format json >ours.json
    umoci repack --image layout:edited theirs
    corten --root "$CASE/store" unpack edited ours-again
    corten --root "$CASE/store" unpack oci:layout:edited theirs-again
    same_tree ours/rootfs ours-again/rootfs
    same_tree theirs-again/rootfs ours-again/rootfs
    corten --root "$CASE/store" copy edited oci:layout:ours
    corten validate oci:layout
    umoci unpack --image layout:ours by-umoci
    same_tree by-umoci/rootfs ours-again/rootfs
    note "a layer of $(jq .changes ours.json) changes"
}

case_a_mapped_bundle_runs() {
    need_base
    need runc crun
    corten --root "$BASE_STORE" copy app oci:layout:app
    corten --root "$CASE/store" unpack --uid-map 0:300000:65536 --gid-map 0:300000:65536 oci:layout:app bundle
    equal 'owner of the files' 300000:300000 "$(stat -c %u:%g bundle/rootfs/etc/passwd)"
    chmod 711 . bundle
    equal 'what it says under runc' "$APP_SAYS" \
        "$(runc --root "$CASE/runc" run --bundle bundle "corten-$$" </dev/null)"
    # crun gives its standard streams to the container's root, and would change the owner of /dev/null.
    equal 'what it says under crun' "$APP_SAYS" \
        "$(: | one_cgroup_version crun --root "$CASE/crun" --cgroup-manager cgroupfs \
            run --bundle bundle "corten-$$" 2> >(cat >&2))"
    equal 'owner of /dev/null' 0:0 "$(stat -c %u:%g /dev/null)"
    equal 'what running changed' 0 \
        "$(corten --root "$CASE/store" repack bundle same --format json | jq .changes)"
    chown 300005:300006 bundle/rootfs/etc/passwd
    corten --root "$CASE/store" repack bundle changed
    corten --root "$CASE/store" unpack changed plain
    equal 'owner in the image' 5:6 "$(stat -c %u:%g plain/rootfs/etc/passwd)"
}

case_a_bundle_of_an_ordinary_user_runs() {
    need_base
    need crun runc
    local user
    user=$(new_user)
    "$HERE/as-user" "$user" corten doctor >/dev/null || not_run 'this machine allows users no namespaces'
    mkdir own runtime
    corten --root "$BASE_STORE" copy app oci:layout:app
    chown -R "$user" own runtime layout
    chmod 700 runtime
    "$HERE/as-user" "$user" corten --root "$CASE/own/store" unpack "oci:$CASE/layout" "$CASE/own/bundle"
    for runtime in crun runc; do
        equal "what it says under $runtime" "$APP_SAYS" \
            "$(one_cgroup_version "$HERE/as-user" "$user" XDG_RUNTIME_DIR="$CASE/runtime" \
                "$runtime" --root "$CASE/runtime" run --bundle "$CASE/own/bundle" "corten-$$" </dev/null)"
    done
    "$HERE/as-user" "$user" corten --root "$CASE/own/store" repack "$CASE/own/bundle" same --format json >same.json
    equal 'what running changed' 0 "$(jq .changes same.json)"
}

case_a_config_of_another_system() {
    need jq
    need_base
    corten --root "$BASE_STORE" copy app oci:layout:app
    umoci config --image layout:app --os windows --config.user ContainerUser --config.workingdir 'C:\app'
    corten --root "$CASE/store" unpack --config-only oci:layout:app only --platform windows/amd64 ||
        corten --root "$CASE/store" unpack --config-only oci:layout:app only
    equal 'who it runs as' ContainerUser "$(jq -r .process.user.username only/config.json)"
    ! corten --root "$CASE/store" unpack oci:layout:app whole 2>refused || fail 'it was unpacked'
    contains refused 'the image is for `windows`'
}
