# shellcheck shell=bash disable=SC2154,SC2016
# What commands of RUN are given and held to, and a shell in their place.

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

case_a_shell_opens_where_a_step_failed() {
    need_base
    need python3
    copy_base "$CASE/store"
    mkdir failing
    cat >failing/Dockerfile <<'DOCKERFILE'
FROM base
ENV A=here
USER 7
WORKDIR /tmp
RUN --network=none --mount=type=tmpfs,target=/t --mount=type=secret,id=s,env=S echo left >x; exit 7
DOCKERFILE
    local how status lines
    lines='echo in: $(pwd) $(cat x) $A $S $(id -u) $(test -d /t && echo mounted)\nexit 3\n'
    for how in root chroot; do
        status=0
        SECRET=hush timeout 120 python3 "$HERE/files/typed.py" 'fails when it ends' "$lines" corten --root "$CASE/store" \
            build --no-cache --isolation "$how" --shell-on-failure --secret id=s,env=SECRET failing >"shell.$how" 2>&1 ||
            status=$?
        equal "$how: the status" 1 "$status"
        contains "shell.$how" 'in: /tmp left here hush 7 mounted'
        contains "shell.$how" 'exit status 7'
        equal "$how: what is left" '' "$(ls "$CASE/store/layers/tmp")"
    done
    ! corten --root "$CASE/store" build --shell-on-failure failing >refused 2>&1
    contains refused 'there is no terminal'
}
