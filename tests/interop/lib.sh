# What the cases share. Sourced in a process of its own for each, in a directory of its own, $CASE.

EPOCH=1704067200
# podman takes no more than 50 characters.
RUNROOT=$WORK/run
started=()

# Ends what the case started, by its id.
end_started() {
    { set +x; } 2>/dev/null
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || true
    done
}
trap end_started EXIT

not_run() {
    { set +x; } 2>/dev/null
    echo "$*"
    exit 77
}

fail() {
    { set +x; } 2>/dev/null
    echo "FAILED: $*"
    exit 1
}

note() { echo "note: $*"; }

# need PROGRAM...: the case is not run without them.
need() {
    local program
    for program; do
        command -v "$program" >/dev/null || not_run "there is no $program"
    done
}

need_root() { [[ $(id -u) == 0 ]] || not_run "it needs root"; }

# equal WHAT EXPECTED FOUND
equal() { [[ $2 == "$3" ]] || fail "$1: expected \`$2\`, found \`$3\`"; }

# contains FILE TEXT: the text, on one line, is in the file.
contains() { grep -qF -- "$2" "$1" || { cat "$1"; fail "\`$2\` is not in $1"; }; }

# until_true SECONDS COMMAND...: waits for a server to answer.
until_true() {
    local limit=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < limit)) || fail "in vain: $*"
        sleep 0.1
    done
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# base_tar: makes the root file system that all images are built on, once, and prints its path.
make_base() { # TAR: a mirror may fail once
    SOURCE_DATE_EPOCH=$EPOCH mmdebstrap --quiet --format=tar --variant=minbase bookworm "$1" \
        >"$CASE/mmdebstrap" 2>&1
}

base_tar() {
    local tar=$CACHE/debian-bookworm.tar
    if [[ ! -s $tar ]]; then
        need mmdebstrap
        make_base "$tar.tmp" || make_base "$tar.tmp" ||
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

# start_registry: starts Debian's registry on loopback and sets $REGISTRY to its address.
start_registry() {
    need docker-registry
    local port
    port=$(free_port)
    cat >registry.yml <<CONFIG
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $CASE/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
CONFIG
    docker-registry serve registry.yml >registry.log 2>&1 &
    started+=($!)
    REGISTRY=127.0.0.1:$port
    until_true 20 curl -fsS "http://$REGISTRY/v2/"
}

# The storage driver of podman and buildah: overlay, unless this directory is on one.
driver() { if [[ $(stat -f -c %T "$WORK") == overlayfs ]]; then echo vfs; else echo overlay; fi; }

containers_conf() {
    printf '[engine]\nruntime="runc"\nevents_logger="file"\ncgroup_manager="cgroupfs"\n[containers]\nnetns="host"\n' \
        >"$CASE/containers.conf"
    printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$CASE/policy.json"
    export CONTAINERS_CONF=$CASE/containers.conf
}

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
    dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$CASE/docker" --exec-root "$state" \
        --pidfile "$CASE/docker.pid" -H "unix://$CASE/docker.sock" "$@" >docker.log 2>&1 &
    started+=($!)
    local limit=$((SECONDS + 40))
    until peer_docker version >/dev/null 2>&1; do
        kill -0 "${started[-1]}" 2>/dev/null || not_run "dockerd: $(tail -n 1 docker.log)"
        ((SECONDS < limit)) || not_run "dockerd does not answer: $(tail -n 1 docker.log)"
        sleep 0.1
    done
}

peer_docker() { docker -H "unix://$CASE/docker.sock" "$@"; }

# start_containerd: starts a daemon of the case's own; `peer_ctr` talks to it.
start_containerd() {
    need containerd ctr
    cat >containerd.toml <<CONFIG
version = 2
root = "$CASE/containerd"
state = "$CASE/containerd-run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$CASE/containerd.sock"
CONFIG
    containerd -c containerd.toml >containerd.log 2>&1 &
    started+=($!)
    until_true 20 peer_ctr version
}

peer_ctr() { ctr --address "$CASE/containerd.sock" "$@"; }

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
