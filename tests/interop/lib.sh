# What the cases share. Sourced in a process of its own for each, in a directory of its own, $CASE.

EPOCH=1704067200
# podman takes no more than 50 characters.
RUNROOT=$WORK/run

# shellcheck source=scripts/peers.sh
source "$HERE/../../scripts/peers.sh"

fail() {
    { set +x; } 2>/dev/null
    echo "FAILED: $*"
    exit 1
}

note() { echo "note: $*"; }

need_root() { [[ $(id -u) == 0 ]] || not_run "it needs root"; }

# equal WHAT EXPECTED FOUND
equal() { [[ $2 == "$3" ]] || fail "$1: expected \`$2\`, found \`$3\`"; }

# contains FILE TEXT: the text, on one line, is in the file.
contains() { grep -qF -- "$2" "$1" || { cat "$1"; fail "\`$2\` is not in $1"; }; }

# base_tar: makes the root file system that all images are built on, once, and prints its path.
base_tar() {
    local tar=$CACHE/debian-bookworm.tar
    if [[ ! -s $tar ]]; then
        need mmdebstrap
        make_base "$tar.tmp" >mmdebstrap 2>&1 || make_base "$tar.tmp" >mmdebstrap 2>&1 ||
            { rm -f "$tar.tmp"; not_run "mmdebstrap: $(tail -n 1 mmdebstrap)"; }
        mv "$tar.tmp" "$tar"
    fi
    echo "$tar"
}

# need_base: a store that all cases read and copy from, with the image `base` and one built on it, `app`.
need_base() {
    need_root
    BASE_STORE=$WORK/base-store
    if [[ ! -f $WORK/base-ready ]]; then
        local tar
        tar=$(base_tar) || not_run "$tar"
        corten --root "$BASE_STORE" import "$tar" --tag base
        app_context "$WORK/context"
        SOURCE_DATE_EPOCH=$EPOCH corten --root "$BASE_STORE" build -q --tag app "$WORK/context"
        touch "$WORK/base-ready"
    fi
}

# copy_base STORE: a store of the case's own with `base` in it.
copy_base() { corten --root "$1" copy "oci:$BASE_STORE:docker.io/library/base:latest" base >/dev/null; }

# small_base STORE: the image `small` in it, of busybox alone.
small_base() {
    { set +x; } 2>/dev/null
    need busybox
    mkdir -p "$CASE/small/bin"
    cp "$(command -v busybox)" "$CASE/small/bin/busybox"
    local name
    for name in $(busybox --list); do
        [[ $name == busybox ]] || ln -sf busybox "$CASE/small/bin/$name"
    done
    tar --create --file "$CASE/small.tar" --directory "$CASE/small" --owner 0 --group 0 --mtime "@$EPOCH" --sort name bin
    corten --root "$1" import "$CASE/small.tar" --tag small >/dev/null
    set -x
}

app_digest() { corten --root "$BASE_STORE" inspect --format json app | jq -r .digest; }

# What `app` says when it is run.
APP_SAYS='made by maker, run by keeper in /srv with arguments: one two'

# app_context DIR: a program made in one stage and taken over by another, which runs it as a user.
app_context() {
    mkdir -p "$1"
    cp "$HERE/files/Dockerfile" "$HERE/files/report.pl" "$1/"
    seq 20000 >"$1/numbers"
}

# new_user: makes an ordinary user with subordinate ids, removed when all cases are done, and prints its
# name.
new_user() {
    need useradd setpriv newuidmap
    if [[ ! -f $WORK/user ]]; then
        local name=corten-t$$
        useradd --create-home --home-dir "$WORK/home" --shell /bin/bash "$name" >&2
        echo "$name" >"$WORK/user"
        if ! grep -q "^$name:" /etc/subuid; then
            usermod --add-subuids 900000-965535 --add-subgids 900000-965535 "$name"
        fi
    fi
    cat "$WORK/user"
}

# The storage driver of podman and buildah: overlay, unless this directory is on one.
driver() { if [[ $(stat -f -c %T "$WORK") == overlayfs ]]; then echo vfs; else echo overlay; fi; }

peer_podman() {
    containers_conf
    podman --root "$CASE/podman" --runroot "$RUNROOT" --storage-driver "$(driver)" "$@"
}

peer_buildah() {
    containers_conf
    buildah --root "$CASE/buildah" --runroot "$RUNROOT" --storage-driver "$(driver)" "$@"
}

# start_docker [OPTION...]: starts a daemon of the case's own; `peer_docker` talks to it.
start_docker() {
    need dockerd docker
    # A short path: containerd's sockets are in it, and a path of more than 107 bytes makes none.
    local state
    state=$(mktemp -d "$WORK/d.XXX")
    spawn_docker "$state" "$@"
    local limit=$((SECONDS + 40))
    until peer_docker version >/dev/null 2>&1; do
        kill -0 "${started[-1]}" 2>/dev/null || not_run "dockerd: $(tail -n 1 docker.log)"
        ((SECONDS < limit)) || not_run "dockerd does not answer: $(tail -n 1 docker.log)"
        sleep 0.1
    done
}

# one_cgroup_version COMMAND...: crun 1.8 gives up where both versions of cgroups are mounted, so version 2
# is taken out of its sight.
one_cgroup_version() {
    # shellcheck disable=SC2016
    unshare --mount sh -c '
        if [ -d /sys/fs/cgroup/unified ]; then umount --lazy /sys/fs/cgroup/unified; fi
        exec "$@"' sh "$@"
}

# same_tree A B: two directories hold the same files, with the same metadata.
same_tree() { python3 "$HERE/files/same-tree.py" "$1" "$2"; }
