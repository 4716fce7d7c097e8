# shellcheck shell=bash disable=SC2154
# What commands of RUN are given and held to.

case_limits_hold_or_are_refused() {
    need_base
    copy_base "$CASE/store"
    mkdir limited
    cat >limited/Dockerfile <<'DOCKERFILE'
FROM base
RUN perl -e 'my $all = "x" x (512 << 20); print "had it all\n"'
DOCKERFILE
    local status=0
    corten --root "$CASE/store" build --no-cache --progress plain --memory 64m limited >memory 2>&1 || status=$?
    equal 'the status' 1 "$status"
    # Where control groups can be made the kernel kills the command, elsewhere nothing runs.
    if corten doctor | grep -q 'cgroup v2: ok'; then
        contains memory 'it was killed'
    else
        contains memory 'cannot be limited'
        ! grep -q '^#' memory || fail 'something ran without its limits'
        note 'control groups are not delegated here: that limits hold was not seen'
    fi
    ! grep -q 'had it all' memory || fail 'the limit did not hold'
    cat >limited/Dockerfile <<'DOCKERFILE'
FROM base
RUN test "$(ulimit -Sn):$(ulimit -Hn)" = 99:100 && test "$(ulimit -c)" = 0
RUN df -k /dev/shm | grep -q ' 2048 '
RUN test "$(cat /proc/sys/kernel/hostname)" = named && grep -q 'localhost named$' /etc/hosts
RUN printf 'nameserver 192.0.2.1\nsearch a.example\noptions ndots:3\n' >/x && \
    grep -v '^sortlist' /etc/resolv.conf | cmp - /x && rm /x
DOCKERFILE
    corten --root "$CASE/store" build --no-cache --progress plain --ulimit nofile=99:100 --ulimit core=0 \
        --shm-size 2m --build-arg BUILDKIT_SANDBOX_HOSTNAME=named \
        --dns 192.0.2.1 --dns-search a.example --dns-option ndots:3 limited >told 2>&1 || { cat told; fail 'limits'; }
}
