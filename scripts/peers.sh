# shellcheck shell=bash
# Servers and settings of other tools, for the cases of tests/interop and of benches. Sourced in a process
# of its own for each case, in a directory of its own, $CASE, where all of it is kept.

started=()

# Ends what the case started, by its id.
end_started() {
    { set +x; } 2>/dev/null
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || true
    done
    started=()
}
trap end_started EXIT

# not_run REASON
not_run() {
    { set +x; } 2>/dev/null
    echo "$*"
    exit 77
}

# need PROGRAM...: the case is not run without them.
need() {
    local program
    for program; do
        command -v "$program" >/dev/null || not_run "there is no $program"
    done
}

# until_true SECONDS COMMAND...: waits until the command succeeds.
until_true() {
    local limit=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < limit)) || { echo "in vain: $*" && return 1; }
        sleep 0.05
    done
}

# make_base TAR: makes the root file system that all images are built on. A mirror may fail.
make_base() {
    SOURCE_DATE_EPOCH=1704067200 mmdebstrap --quiet --format=tar --variant=minbase bookworm "$1"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# start_registry: starts Debian's registry on loopback and sets $REGISTRY to its address.
start_registry() {
    need docker-registry
    local port
    port=$(free_port)
    cat >"$CASE/registry.yml" <<CONFIG
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $CASE/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
CONFIG
    docker-registry serve "$CASE/registry.yml" >"$CASE/registry.log" 2>&1 &
    started+=($!)
    REGISTRY=127.0.0.1:$port
    until_true 20 curl -fsS "http://$REGISTRY/v2/"
}

# start_containerd: starts a daemon of the case's own; `peer_ctr` talks to it.
start_containerd() {
    need containerd ctr
    cat >"$CASE/containerd.toml" <<CONFIG
version = 2
root = "$CASE/containerd"
state = "$CASE/containerd-run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$CASE/containerd.sock"
CONFIG
    containerd --config "$CASE/containerd.toml" >"$CASE/containerd.log" 2>&1 &
    started+=($!)
    until_true 30 peer_ctr version
}

peer_ctr() { ctr --address "$CASE/containerd.sock" "$@"; }

# spawn_docker STATE [OPTION...]: starts a daemon of the case's own with its sockets in STATE;
# `peer_docker` talks to it, once it answers.
spawn_docker() {
    need dockerd docker
    dockerd --iptables=false --ip6tables=false --bridge=none --data-root "$CASE/docker" --exec-root "$1" \
        --pidfile "$CASE/docker.pid" --host "unix://$CASE/docker.sock" "${@:2}" >"$CASE/docker.log" 2>&1 &
    started+=($!)
}

peer_docker() { docker --host "unix://$CASE/docker.sock" "$@"; }

# containers_conf: what buildah, podman and skopeo read instead of the machine's own.
containers_conf() {
    printf '[engine]\nruntime="runc"\nevents_logger="file"\ncgroup_manager="cgroupfs"\n[containers]\nnetns="host"\n' \
        >"$CASE/containers.conf"
    printf '{"default":[{"type":"insecureAcceptAnything"}]}\n' >"$CASE/policy.json"
    export CONTAINERS_CONF=$CASE/containers.conf
}
