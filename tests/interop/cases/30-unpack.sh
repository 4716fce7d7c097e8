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
