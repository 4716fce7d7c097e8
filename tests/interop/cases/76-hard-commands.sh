# shellcheck shell=bash disable=SC2154
# What commands of RUN do to a machine, in every way of isolation: the same layers, and nothing left.

# hard DIR: contexts of commands that are hard on a builder, and repeat bit for bit.
hard() {
    mkdir -p "$1"/{daemons,many,kinds,deep,owned}
    cat >"$1/daemons/Dockerfile" <<'DOCKERFILE'
FROM base
RUN (setsid sh -c 'trap "" HUP INT TERM; (sleep 4713 &) ; exec sleep 4713' >/dev/null 2>&1 &) ; \
    perl -e 'fork and exit; setpgrp; fork and exit; exec "sleep", "4713"' >/dev/null 2>&1; echo left >/left
RUN cat /left
DOCKERFILE
    cat >"$1/many/Dockerfile" <<'DOCKERFILE'
FROM base
RUN mkdir /many && cd /many && perl -e 'for my $d (0 .. 99) { mkdir $d or die; for (0 .. 999) { \
    open my $f, ">", "$d/$_" or die; print $f $_ } }'
RUN rm -r /many/[1-9]* && test "$(ls /many/0 | wc -l)" = 1000
DOCKERFILE
    cat >"$1/kinds/Dockerfile" <<'DOCKERFILE'
FROM base
RUN mkdir /k /k/d && cd /k && perl -e 'open my $f, ">", "n" x 255 or die; mkdir "\xff\xfe " . "m" x 252 or die; \
    symlink "t" x 4000, "long" or die' && mkfifo fifo
RUN perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("/k/socket")) or die'
RUN cd /k && truncate -s 64M sparse && printf end >>sparse && truncate -s 1M hole && cp /bin/true su && chmod 6755 su
RUN cd /k && mkdir g && echo one >a && ln a g/b && ln a /linked && echo two >x && ln x y && rm x && mv g e
RUN test "$(uname -m)" != x86_64 || perl -e '$setxattr = 188; sub set { my ($path, $name, $value) = @_; \
    syscall($setxattr, $path, $name, $value, length $value, 0) == 0 or die "$name: $!" } \
    set("/k/y", "user.one", "1"); set("/k/e", "user.two", "\0\xff")'
DOCKERFILE
    cat >"$1/deep/Dockerfile" <<'DOCKERFILE'
FROM base
RUN perl -e 'for (1 .. 60) { mkdir "d" x 200 or die $!; chdir "d" x 200 or die $! } open F, ">", "deep" or die $!; print F "x"'
RUN perl -e 'for (1 .. 60) { chdir "d" x 200 or die $! } unlink "deep" or die $!; open F, ">", "other" or die $!'
DOCKERFILE
    cat >"$1/owned/Dockerfile" <<'DOCKERFILE'
FROM base
RUN cp /bin/true /given && chown 7:8 /given && chmod 4755 /given && mkdir /sticky && chmod 3777 /sticky
DOCKERFILE
}

# hardly HOW STORE CONTEXTS COMMAND...: digests of what `COMMAND... build` makes of those.
hardly() {
    local how=$1 store=$2 contexts=$3 context
    shift 3
    for context in $contexts; do
        "$@" --root "$store" build --quiet --timestamp "$EPOCH" --no-cache --isolation "$how" \
            "$CASE/hard/$context" >"log.$how.$context" 2>&1 ||
            { cat "log.$how.$context"; fail "$how: $context"; }
        echo "$context $(tail -n 1 "log.$how.$context")"
    done
    equal "what is left of $how in the store" '' "$(ls "$store/layers/tmp")"
    equal "processes of $how that are left" '' "$(grep -laz '^4713$' /proc/[0-9]*/cmdline 2>/dev/null || true)"
    # A hole of 1 TiB is refused before it is read, and one that is gone again costs nothing.
    printf 'FROM base\nRUN truncate -s 1T /hole\nRUN rm /hole\n' >"$CASE/hard/look"
    ! timeout 60 "$@" --root "$store" build --no-cache --isolation "$how" --file "$CASE/hard/look" "$CASE/hard/daemons" \
        >"log.$how.hole" 2>&1 || fail "$how: the hole is in a layer"
    contains "log.$how.hole" '`hole`'
    contains "log.$how.hole" 'pass `--limit total_bytes=VALUE`'
    printf 'FROM base\nRUN truncate -s 1T /hole && rm /hole\n' >"$CASE/hard/look"
    timeout 60 "$@" --root "$store" build --quiet --no-cache --isolation "$how" --file "$CASE/hard/look" "$CASE/hard/daemons" >/dev/null
}

case_hard_commands_make_the_same_layers() {
    need_base
    local user all='daemons many kinds deep owned' one='daemons many kinds deep' alone=corten-b$$
    user=$(new_user)
    useradd --no-create-home --home-dir "$CASE/home" --shell /bin/bash "$alone"
    # shellcheck disable=SC2064
    trap "userdel $alone; end_started" EXIT
    sed -i "/^$alone:/d" /etc/subuid /etc/subgid
    hard hard
    chmod -R a+rX .
    copy_base "$CASE/root"
    hardly root "$CASE/root" "$all" corten >digests.root
    copy_base "$CASE/chroot"
    hardly chroot "$CASE/chroot" "$all" corten >digests.chroot
    copy_base "$CASE/userns"
    chown -R "$user" "$CASE/userns" "$CASE/hard"
    hardly userns "$CASE/userns" "$all" "$HERE/as-user" "$user" corten >digests.userns
    copy_base "$CASE/one"
    chown -R "$alone" "$CASE/one" "$CASE/hard"
    hardly userns-one "$CASE/one" "$one" "$HERE/as-user" "$alone" corten >digests.one
    cat digests.root
    equal 'digests' "$(cat digests.root)" "$(cat digests.chroot)"
    equal 'digests' "$(cat digests.root)" "$(cat digests.userns)"
    equal 'digests' "$(grep -v '^owned' digests.root)" "$(cat digests.one)"
    # As expected, not only the same.
    corten --root "$CASE/root" build --quiet --timestamp "$EPOCH" --no-cache --output type=tar,dest=kinds.tar "$CASE/hard/kinds"
    tar --list --verbose --file kinds.tar >kinds
    grep -q '^-rwsr-sr-x 0/0 .* k/su$' kinds || { grep k/ kinds; fail 'set-user-ID is lost'; }
    grep -q '^prw.* k/fifo$' kinds || fail 'the pipe is lost'
    grep -q ' 67108867 .* k/sparse$' kinds || fail 'the sparse file is another'
    ! grep -q 'k/socket' kinds || fail 'a socket is in the layer'
    [[ $(grep -cE '^h.* link to (k/a|k/e/b|linked)$' kinds) == 2 ]] || { grep '^h' kinds; fail 'hard links are parted'; }
    # A device is made where the machine allows it, and refused elsewhere.
    printf 'FROM base\nRUN mknod /zero c 1 5 && mknod /disk b 8 0\n' >"$CASE/hard/look"
    corten --root "$CASE/root" build --quiet --isolation root --file hard/look --output type=tar,dest=devices.tar hard/daemons
    tar --list --verbose --file devices.tar | grep -q '^crw.* 1,5 .* zero$' || fail 'the device is lost'
    ! corten --root "$CASE/chroot" build --isolation chroot --file hard/look hard/daemons >refused 2>&1 ||
        fail 'a live device was made in a directory'
}

case_memory_and_processors_are_limited() {
    need_root
    small_base "$CASE/store"
    mkdir context
    local status=0
    printf 'FROM small\nRUN dd if=/dev/zero of=/dev/null bs=400M count=1\n' >context/Dockerfile
    corten doctor >doctor
    if ! grep -q 'cgroup v2: ok' doctor; then
        # Nothing runs without the limits that were asked for.
        local limit
        for limit in --memory=64m --cpus=0.5 --pids-limit=20; do
            ! corten --root "$CASE/store" build --no-cache --progress plain "$limit" context >log 2>&1 || fail "$limit"
            contains log 'cannot be limited'
            ! grep -q '^#' log || fail 'something ran without its limits'
        done
        not_run "control groups are not delegated here: $(grep -m 1 'cgroup v2' doctor)"
    fi
    local build=(corten --root "$CASE/store" build --no-cache --progress plain) before took
    ! "${build[@]}" --memory 64m context >log 2>&1 || fail 'more memory than there is'
    contains log 'it was killed'
    "${build[@]}" --memory 1g context >log 2>&1 || { cat log; fail 'enough memory'; }
    printf 'FROM small\nRUN for n in $(seq 30); do sleep 1 & done; wait; echo all\n' >context/Dockerfile
    "${build[@]}" --pids-limit 20 context >log 2>&1 || status=$?
    contains log "can't fork"
    # Two tenths of a processor: what takes half a second by itself takes five times as long.
    printf 'FROM small\nRUN echo "spent: $(cat /proc/uptime | cut -d" " -f1)"; dd if=/dev/zero bs=1M count=3000 | sha256sum; echo "spent: $(cut -d" " -f1 /proc/uptime)"\n' >context/Dockerfile
    before=$(date +%s%N)
    "${build[@]}" context >log 2>&1
    took=$(($(date +%s%N) - before))
    before=$(date +%s%N)
    "${build[@]}" --cpus 0.2 context >log 2>&1
    note "$((took / 1000000)) ms without a limit, $((($(date +%s%N) - before) / 1000000)) ms with a fifth of a processor"
    (($(date +%s%N) - before > 2 * took)) || fail 'the limit did not hold'
    [[ ! -d /sys/fs/cgroup ]] || equal 'control groups left' '' "$(find /sys/fs/cgroup -maxdepth 3 -name 'corten-*')"
}
