# shellcheck shell=bash disable=SC2154
# Files of images: listed, read, exported, and in fewer layers; and who reads our compressed layers.

# extract TAR DIR: with everything that GNU tar can set.
extract() {
    mkdir "$2"
    tar --extract --file "$1" --directory "$2" --numeric-owner --same-permissions --same-owner \
        --xattrs --xattrs-include='*' --delay-directory-restore
}

case_export_is_what_umoci_unpacks() {
    need_base
    need umoci python3
    corten --root "$BASE_STORE" copy app oci:layout:app
    umoci unpack --image layout:app theirs
    corten --root "$BASE_STORE" export app -o ours.tar
    extract ours.tar ours
    same_tree theirs/rootfs ours
    # The same from another place, through a pipe, and compressed.
    corten --root "$CASE/store" export oci:layout:app | cmp - ours.tar
    corten --root "$CASE/store" export oci:layout:app --compression zstd:1 | zstd -dc | cmp - ours.tar
    corten --root "$CASE/store" export oci:layout:app --compression gzip:6 -o ours.tar.gz
    gzip -dc ours.tar.gz | cmp - ours.tar
    # A part of it.
    corten --root "$CASE/store" export oci:layout:app /bin/sh | tar --list >part
    equal 'what a part holds' "$(printf './\nusr/\nusr/bin/\nusr/bin/dash')" "$(cat part)"
}

case_ls_and_cat_say_what_is_unpacked() {
    need_base
    corten --root "$BASE_STORE" export app -o app.tar
    extract app.tar tree
    (cd tree && find . -mindepth 1 -printf '%P\n' | LC_ALL=C sort) >expected
    corten --root "$BASE_STORE" ls -R app | LC_ALL=C sort >found
    diff expected found
    equal 'details' "$(stat -c '%A %h %u %g %s' tree/usr/bin/passwd)" \
        "$(corten --root "$BASE_STORE" ls -l app /usr/bin/passwd | cut -d' ' -f1-5)"
    equal 'as JSON' "$(stat -c '%04a %u %s' tree/etc/shadow)" \
        "$(corten --root "$BASE_STORE" ls --format json app etc/shadow | jq -r '.[] | "\(.mode) \(.uid) \(.size)"')"
    corten --root "$BASE_STORE" cat app /etc/os-release /bin/sh /lib64/../lib/os-release | cmp - \
        <(cat tree/usr/lib/os-release tree/usr/bin/dash tree/usr/lib/os-release)
}

# in_tree STORE IMAGE: the digest of what it exports.
in_tree() { corten --root "$1" export "$2" | sha256sum; }

case_fewer_layers_run_everywhere() {
    need_base
    corten --root "$BASE_STORE" squash app squashed --from base
    corten --root "$BASE_STORE" flatten app flat
    corten --root "$BASE_STORE" validate squashed
    corten --root "$BASE_STORE" validate flat
    equal 'layers, squashed' 2 "$(corten --root "$BASE_STORE" inspect --format json squashed | jq '.manifest.layers | length')"
    equal 'layers, flattened' 1 "$(corten --root "$BASE_STORE" inspect --format json flat | jq '.manifest.layers | length')"
    equal 'files, squashed' "$(in_tree "$BASE_STORE" app)" "$(in_tree "$BASE_STORE" squashed)"
    equal 'files, flattened' "$(in_tree "$BASE_STORE" app)" "$(in_tree "$BASE_STORE" flat)"
    equal 'what it says' "$APP_SAYS" "$(corten --root "$BASE_STORE" run squashed)"
    # umoci, which knows nothing of how it was made.
    need umoci python3
    corten --root "$BASE_STORE" copy app oci:layout:app
    corten --root "$BASE_STORE" copy squashed oci:layout:squashed
    umoci unpack --image layout:app one
    umoci unpack --image layout:squashed other
    same_tree one/rootfs other/rootfs
    need podman
    containers_conf
    corten --root "$BASE_STORE" save --format oci-archive -o squashed.tar squashed
    peer_podman load --signature-policy policy.json -i squashed.tar
    equal 'what it says under podman' "$APP_SAYS" \
        "$(peer_podman run --rm --network host --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 docker.io/library/squashed:latest)"
}

case_docker_runs_what_is_flattened_and_imports_what_is_exported() {
    need_base
    start_docker
    corten --root "$BASE_STORE" flatten app flat-for-docker
    corten --root "$BASE_STORE" save --format docker-archive -o flat.tar flat-for-docker
    peer_docker load -i flat.tar
    equal 'what it says under docker' "$APP_SAYS" "$(peer_docker run --rm --network host flat-for-docker)"
    corten --root "$BASE_STORE" export app | peer_docker import - imported
    equal 'a file of what was imported' "$(corten --root "$BASE_STORE" cat app /etc/os-release)" \
        "$(peer_docker run --rm --network host imported cat /etc/os-release)"
}

# plain_digest COMMAND...: of what a program makes of the compressed layer on its standard input.
plain_digest() { "$@" <layer.gz | sha256sum | cut -d' ' -f1; }

case_every_reader_reads_our_gzip() {
    need_base
    local blob expected reader
    blob=$(corten --root "$BASE_STORE" inspect --format json base | jq -r '.manifest.layers[0].digest')
    expected=$(corten --root "$BASE_STORE" inspect --format json base | jq -r '.config.rootfs.diff_ids[0]')
    cp "$BASE_STORE/blobs/sha256/${blob#sha256:}" layer.gz
    cat >node.js <<'JS'
process.stdin.pipe(require("zlib").createGunzip()).pipe(process.stdout)
JS
    printf 'import gzip, shutil, sys\nshutil.copyfileobj(gzip.GzipFile(fileobj=sys.stdin.buffer), sys.stdout.buffer)\n' >python.py
    local readers=('gzip -dc' 'pigz -dc' 'igzip -dc' 'busybox gzip -dc' 'python3 python.py' 'node node.js')
    for reader in "${readers[@]}"; do
        need "${reader%% *}"
        # shellcheck disable=SC2086
        equal "$reader" "${expected#sha256:}" "$(plain_digest $reader)"
    done
    # skopeo decompresses on its way; umoci, podman and docker have cases of their own.
    need skopeo
    containers_conf
    corten --root "$BASE_STORE" copy base oci:layout:base
    skopeo copy --policy policy.json --dest-decompress oci:layout:base dir:plain
    equal 'skopeo' "${expected#sha256:}" "$(sha256sum "plain/${expected#sha256:}" | cut -d' ' -f1)"
}

case_containerd_unpacks_our_gzip() {
    need_base
    start_containerd
    corten --root "$BASE_STORE" save --format oci-archive -o app.tar app
    # It checks every DiffID.
    peer_ctr images import --snapshotter native app.tar
    mkdir mounted
    peer_ctr images mount --snapshotter native docker.io/library/app:latest mounted
    corten --root "$BASE_STORE" cat app /etc/os-release | cmp - mounted/usr/lib/os-release
    peer_ctr images unmount mounted
}
