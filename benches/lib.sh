# shellcheck shell=bash disable=SC2046,SC2086
# What the cases share. Sourced in a process of its own for each, in the case's file system, $CASE. A case
# defines `prepare`, which is not measured, and `round`, which measures every contender once; $ROUND is 0
# while they warm up.

# shellcheck source=scripts/peers.sh
source "$HERE/../scripts/peers.sh"

result() { printf '%s\t%s\n' "$NAME" "$(IFS=$'\t' && echo "$*")" >>"$RESULTS"; }
title() { result title "$*"; }
note() { result note "$*"; }

# measure CONTENDER COMMAND...: runs and records it. What others wrote before is on the disk by then.
measure() { measured "$1" "" "${@:2}"; }

# measure_without_sync CONTENDER COMMAND...: likewise, while its syncs do nothing.
measure_without_sync() { measured "$1" "python3 $HERE/nosync.py" "${@:2}"; }

# floor CONTENDER COMMAND...: likewise, of what needs no warming up and may be slow.
floor() { ((ROUND == 0)) || measured "$1" "" "${@:2}"; }

measured() {
    local contender=$1 wrapper=$2 syncs=''
    shift 2
    sync --file-system "$CASE"
    if ((ROUND == 0)); then
        syncs=$(count_syncs "$wrapper" "$@")
        LAST="0 0 0"
    else
        $wrapper "$HERE/measure" "$WORK/measured" "$@" >"$WORK/stdout" 2>"$WORK/stderr" ||
            { cat "$WORK/stderr" && return 1; }
        read -r LAST <"$WORK/measured"
    fi
    result run "$contender" "$ROUND" ${LAST} "$syncs"
}

# count_syncs WRAPPER COMMAND...: runs it, and prints how often it and its children sync.
count_syncs() {
    local wrapper=$1
    shift
    if [[ -n $wrapper ]] || ! command -v strace >/dev/null; then
        $wrapper "$@" >"$WORK/stdout" 2>"$WORK/stderr" || { cat "$WORK/stderr" >&2 && return 1; }
        if [[ -n $wrapper ]]; then echo 0; else echo '?'; fi
        return
    fi
    strace --follow-forks --seccomp-bpf --quiet=all --trace=sync,fsync,fdatasync,syncfs,sync_file_range \
        --output "$WORK/strace" "$@" >"$WORK/stdout" 2>"$WORK/stderr" ||
        { cat "$WORK/stderr" >&2 && return 1; }
    # A call that another process interrupted is in there twice.
    grep -c 'sync.*(' "$WORK/strace" || true
}

# base_tar: makes the root file system that all images are built on, once, and prints its path.
base_tar() {
    local tar=$CACHE/debian.tar
    if [[ ! -s $tar ]]; then
        make_base "$tar.tmp" >&2
        mv "$tar.tmp" "$tar"
    fi
    echo "$tar"
}

# need_base: a store of ours and a layout, `layout:base`, with the base; both are only read.
need_base() {
    corten --root "$CASE/base-store" import "$(base_tar)" --tag rootfs
    mkdir named
    printf 'FROM rootfs\nCMD ["/bin/sh"]\n' >named/Dockerfile
    corten --root "$CASE/base-store" build --tag base named
    corten --root "$CASE/base-store" copy base "oci:$CASE/layout:base"
}

# big_layout: makes the image of twelve layers, once, and prints the path of its image layout.
big_layout() {
    local layout=$CACHE/big
    if [[ ! -s $layout/index.json ]]; then
        rm -rf "$layout"
        python3 "$HERE/big-image.py" "$(base_tar)" "$layout" >&2
    fi
    echo "$layout"
}

# fresh_registry: starts the registry, empty, and sets $REGISTRY to its address.
fresh_registry() {
    end_started
    rm -rf "$CASE/registry"
    start_registry
    set -x
}

# need_image_in_registry: pushes the base to a registry, and sets $IMAGE to its name.
need_image_in_registry() {
    containers_conf
    need_base
    fresh_registry
    IMAGE=$REGISTRY/base:latest
    corten --root "$CASE/base-store" push base "docker://$IMAGE"
}

# need_daemons: starts containerd and dockerd, with stores of the case's own.
need_daemons() {
    start_containerd
    spawn_docker "$CASE/docker-run"
    until_true 30 peer_docker version
}

# need_archives LAYOUT NAME: the image as the archives that the daemons read.
need_archives() {
    containers_conf
    skopeo copy --quiet --policy policy.json "oci:$1:$2" "oci-archive:image.oci.tar:$2"
    skopeo copy --quiet --policy policy.json "oci:$1:$2" "docker-archive:image.docker.tar:$2:latest"
    cat image.oci.tar image.docker.tar | wc -c
}

# round_of_roots LAYOUT NAME: measures how every tool makes a root file system of an image.
round_of_roots() {
    local image=oci:$1:$2
    measure 'corten run true' corten --root "$CASE/ours" run "$image" true
    forget ours
    measure_without_sync 'corten run true, no sync' corten --root "$CASE/ours" run "$image" true
    forget ours
    measure 'corten unpack' corten --root "$CASE/ours" unpack "$image" ours-bundle
    forget ours ours-bundle
    measure 'umoci unpack' umoci unpack --image "$1:$2" theirs
    forget theirs
    measure 'ctr images import' ctr --address containerd.sock images import image.oci.tar
    peer_ctr images ls --quiet |
        xargs ctr --address containerd.sock images rm --sync
    measure 'podman load' podman $(storage "$CASE/theirs") load --quiet --input image.oci.tar \
        --signature-policy policy.json
    forget theirs run
    measure 'docker load' docker --host "unix://$CASE/docker.sock" load --quiet --input image.docker.tar
    peer_docker image rm --force "$2:latest"
    mkdir plain
    floor 'tar -xzf of each layer' bash -c "
        jq --raw-output '.layers[].digest | split(\":\")[1]' $1/blobs/sha256/$(manifest_of "$1") |
        while read -r layer; do
            tar --extract --gzip --numeric-owner --keep-directory-symlink --file $1/blobs/sha256/\$layer --directory plain
        done"
    forget plain
}

# manifest_of LAYOUT: the hex digits of its only manifest.
manifest_of() { jq --raw-output '.manifests[0].digest | split(":")[1]' "$1/index.json"; }

# storage DIR: options of buildah and podman for a store of the case's own.
storage() { echo --root "$1" --runroot "$CASE/run" --storage-driver overlay; }

# forget PATH...: removes what a measurement left, and lets the disk settle.
forget() { rm -rf "$@" && sync --file-system "$CASE"; }

# need_stores: stores of ours and of buildah with the base, which an image was built on already, so that it
# is unpacked in both. `fresh` copies them: no build of a measurement knows of another.
need_stores() {
    containers_conf
    need_base
    mkdir warm
    printf 'FROM base\nRUN true\n' >warm/Dockerfile
    corten --root "$CASE/base-store" build --tag warm warm
    buildah $(storage "$CASE/base-buildah") pull --quiet --signature-policy policy.json oci:layout:base >id
    buildah $(storage "$CASE/base-buildah") tag "$(cat id)" localhost/base:latest
}

# fresh: makes the stores `ours` and `theirs` anew, from what need_stores made.
fresh() {
    rm -rf "$CASE/ours" "$CASE/theirs" "$CASE/out" "$CASE/run"
    cp --archive "$CASE/base-store" "$CASE/ours"
    cp --archive "$CASE/base-buildah" "$CASE/theirs"
    sync --file-system "$CASE"
}

# ours_builds: the command that builds the context with Corten; the image is stored compressed.
ours_builds() { echo corten --root "$CASE/ours" build --progress plain --tag built context; }

# theirs_builds: the command that builds the context with buildah; the image is stored as directories.
theirs_builds() {
    echo buildah $(storage "$CASE/theirs") bud --quiet --layers --isolation chroot --pull-never \
        --signature-policy policy.json --tag built context
}

# theirs_writes: the command that compresses what buildah built.
theirs_writes() {
    echo buildah $(storage "$CASE/theirs") push --quiet --signature-policy policy.json built oci:out:built
}

# need_peers: what is needed to measure BuildKit and kaniko, where they are.
need_peers() {
    need_buildkit
    need_kaniko
}

# round_of_builds: measures the context built by all, each from a store that knows the base alone.
round_of_builds() {
    fresh
    measure 'corten build' $(ours_builds)
    fresh
    measure_without_sync 'corten build, no sync' $(ours_builds)
    fresh
    rm -rf ours
    corten --root "$CASE/ours" copy oci:layout:base base
    sync --file-system "$CASE"
    measure 'corten build, base not unpacked yet' $(ours_builds)
    round_of_peers
}

# round_of_large_builds: likewise, of what takes minutes: each peer is measured once.
round_of_large_builds() {
    fresh
    measure 'corten build' $(ours_builds)
    ((ROUND != 1)) || round_of_peers
}

round_of_peers() {
    fresh
    measure 'buildah bud, not compressed' $(theirs_builds)
    local bud=$LAST
    measure 'buildah push to oci:' $(theirs_writes)
    sum 'buildah bud and push' "$bud" "$LAST"
    round_of_buildkit
    round_of_kaniko
}

# need_buildkit: starts BuildKit's daemon, with a store of the case's own that gets the base while it warms
# up; notes why it is not measured where it is not there.
need_buildkit() {
    BUILDKIT=
    PATH=$PATH:${GOBIN:-/tmp/gobin}
    if ! command -v buildkitd >/dev/null || ! command -v buildctl >/dev/null; then
        note 'BuildKit was not run: there is no buildkitd on the path or in $GOBIN; go install makes it of github.com/moby/buildkit/cmd'
        return
    fi
    buildkitd --root "$CASE/buildkit" --addr "unix://$CASE/buildkit.sock" --containerd-worker=false \
        --oci-worker-snapshotter=overlayfs --oci-worker-net=host >buildkit.log 2>&1 &
    started+=($!)
    until_true 30 buildctl --addr "unix://$CASE/buildkit.sock" debug workers
    BUILDKIT=unix://$CASE/buildkit.sock
    note "BuildKit $(go_version_of buildkitd) is a warm daemon, whose CPU time and memory are not in the figures"
}

# go_version_of PROGRAM: prints the version of the module that Go built it of, where Go is there to say it.
go_version_of() {
    go version -m "$(command -v "$1")" | awk '$1 == "mod" { print $3 }' || true
}

# buildkit_builds OPTION...: the command that builds the context with BuildKit, into an archive.
buildkit_builds() {
    echo buildctl --addr "$BUILDKIT" build "$@" --frontend dockerfile.v0 \
        --local "context=$CASE/context" --local "dockerfile=$CASE/context" --oci-layout "base=$CASE/layout" \
        --opt "context:base=oci-layout://base@sha256:$(manifest_of layout)" \
        --output "type=oci,dest=$CASE/buildkit.tar"
}

# round_of_buildkit: measures the context built by BuildKit.
round_of_buildkit() {
    [[ -z $BUILDKIT ]] || measure 'BuildKit, to type=oci' $(buildkit_builds --no-cache)
}

# need_kaniko: puts the base where kaniko's executor fetches it; notes why it is not measured where it is
# not there.
need_kaniko() {
    KANIKO=$(PATH=$PATH:${GOBIN:-/tmp/gobin} && command -v kaniko-executor) || KANIKO=
    if [[ -z $KANIKO ]]; then
        note 'kaniko was not run: there is no kaniko-executor on the path or in $GOBIN; go build makes it of ./cmd/executor of github.com/GoogleContainerTools/kaniko'
        return
    fi
    start_registry
    corten --root "$CASE/base-store" push base "docker://$REGISTRY/library/base:latest"
    note "kaniko $("$KANIKO" version | awk '{ print $NF }') runs in a chroot and fetches the base from a registry on loopback each time"
}

# round_of_kaniko: measures the context built by kaniko, into an archive.
round_of_kaniko() {
    [[ -n $KANIKO ]] || return 0
    rm -rf "$CASE/kaniko"
    mkdir -p "$CASE/kaniko/kaniko"
    cp "$KANIKO" "$CASE/kaniko/kaniko/executor"
    measure 'kaniko, to an archive' "$HERE/kaniko" "$CASE/kaniko" "$CASE/context" --no-push \
        --destination built --tar-path /kaniko/built.tar --insecure-registry "$REGISTRY" \
        --registry-map "index.docker.io=$REGISTRY" --skip-default-registry-fallback --verbosity error
    rm -rf "$CASE/kaniko"
}

# sum CONTENDER RUN RUN: records two measurements as one.
sum() {
    local first second
    read -ra first <<<"$2"
    read -ra second <<<"$3"
    result run "$1" "$ROUND" $((first[0] + second[0])) \
        "$(awk "BEGIN { print ${first[1]} + ${second[1]} }")" \
        $((first[2] > second[2] ? first[2] : second[2])) ''
}

# round_of_cached_builds: measures builds that nothing changed for. The warm-up builds everything.
round_of_cached_builds() {
    if ((ROUND == 0)); then
        fresh
        $(ours_builds)
        $(theirs_builds)
    fi
    measure 'corten build, cached' $(ours_builds)
    measure 'buildah bud, cached' $(theirs_builds)
    [[ -z $BUILDKIT ]] || measure 'BuildKit, cached, to type=oci' $(buildkit_builds)
}

# ten_steps: a context of ten RUN steps that each write a little.
ten_steps() {
    mkdir context
    {
        echo 'FROM base'
        for step in 0 1 2 3 4 5 6 7 8 9; do
            echo "RUN echo step $step >/srv/step$step && cp /etc/passwd /srv/passwd$step"
        done
    } >context/Dockerfile
}

# many_files: a context of 20,000 files, 87 MB of text, in 200 directories.
many_files() {
    mkdir context
    python3 "$HERE/many-files.py" context/files
    printf 'FROM base\nCOPY files /srv/files\n' >context/Dockerfile
}
