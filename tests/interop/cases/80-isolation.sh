# shellcheck shell=bash disable=SC2154
# RUN in every way of isolation: the same layers, whatever the machine allows.

# corpus DIR: contexts whose builds repeat bit for bit, one a directory. Files with several names are left
# alone, since overlayfs parts them (docs/reference/isolation.md).
corpus() {
    mkdir -p "$1"/{users,package,files,hardened,script,stages,plain}
    cat >"$1/users/Dockerfile" <<'DOCKERFILE'
FROM base
ARG SOURCE_DATE_EPOCH
RUN useradd --create-home --uid 1234 app && groupadd --gid 4321 crew && usermod -aG crew app
RUN id app >/home/app/id && chown -R app:crew /home/app && chmod 2750 /home/app
USER app:crew
WORKDIR /home/app
RUN id >mine && umask 077 && mkdir -p a/b && echo secret >a/b/c
USER root
RUN su app -c 'id -u >/tmp/as-app' && test "$(cat /tmp/as-app)" = 1234
DOCKERFILE
    mkdir -p hello/{DEBIAN,usr/bin}
    printf 'Package: hello-corten\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a\n' \
        >hello/DEBIAN/control
    # shellcheck disable=SC2016
    printf '#!/bin/sh\necho configured $1 >/var/lib/hello\n' >hello/DEBIAN/postinst
    printf '#!/bin/sh\necho hello\n' >hello/usr/bin/hello
    chmod 755 hello/DEBIAN/postinst hello/usr/bin/hello
    chmod 4755 hello/usr/bin/hello
    SOURCE_DATE_EPOCH=$EPOCH dpkg-deb --root-owner-group --build hello "$1/package/hello.deb" >/dev/null
    cat >"$1/package/Dockerfile" <<'DOCKERFILE'
FROM base
COPY hello.deb /tmp/
RUN dpkg --install /tmp/hello.deb && rm /var/log/dpkg.log
RUN hello >/said && rm /tmp/hello.deb
RUN dpkg --purge hello-corten && rm /var/log/dpkg.log
DOCKERFILE
    echo context >"$1/files/file"
    cat >"$1/files/Dockerfile" <<'DOCKERFILE'
FROM base
RUN mkdir -p /d/sub && echo 1 >/d/one && echo 2 >/d/sub/two && ln -s /d/one /d/link && mkfifo /d/fifo
COPY file /d/sub/two
RUN test "$(cat /d/sub/two)" = context && rm -r /d/sub && mkdir /d/sub && echo 3 >/d/sub/three
COPY file /usr/share/doc/adduser
RUN rm -rf /usr/share/doc /usr/share/man && mkdir /usr/share/doc && echo 4 >/usr/share/doc/four
RUN mv /d/one /d/moved && chmod 600 /d/moved && touch -h /d/link && chgrp 7 /d/fifo
RUN cp /bin/true /d/true && chmod 4711 /d/true && chown 1:2 /d/sub && rm /d/link && ln -s nowhere /d/link
RUN ln /d/moved /d/again && ln /d/moved /d/third && rm /d/again
RUN rm -rf /d/sub && echo 5 >/d/sub && rm /etc/motd; mkdir -p /etc/motd/dir
RUN touch /etc/debian_version && cp -p /etc/issue /x && cp -p /x /etc/issue && rm /x
RUN perl -MSocket -e 'socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("/d/socket")) or die' && ls /d
RUN echo 127.0.0.9 mine >>/etc/hosts && echo nameserver 1.2.3.4 >/etc/resolv.conf && echo x >/dev/shm/x
RUN true
DOCKERFILE
    cat >"$1/script/Dockerfile" <<'DOCKERFILE'
FROM base
RUN <<SCRIPT
set -e
seq 1000 >/numbers
sort -r /numbers >/reversed
SCRIPT
RUN <<SCRIPT
#!/usr/bin/perl
open my $file, '>', '/by-perl' or die;
print $file "$0\n";
SCRIPT
RUN --network=none ! perl -MIO::Socket::INET -e 'IO::Socket::INET->new("127.0.0.1:1") or exit 1'
RUN (setsid sleep 4711 &) ; (sleep 4711 </dev/null >/dev/null 2>&1 &) ; echo left >/left
DOCKERFILE
    # Set-id bits of other owners' files have to be seen to be taken off.
    cat >"$1/hardened/Dockerfile" <<'DOCKERFILE'
FROM base
RUN find / -xdev -type f -perm /6000 | sort >/found && grep -q . /found
RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +
DOCKERFILE
    cat >"$1/plain/Dockerfile" <<'DOCKERFILE'
FROM base
COPY --chown=7:8 Dockerfile /given/file
COPY --chown=7:8 --chmod=4750 Dockerfile /given/set-id
RUN echo more >>/etc/shadow && chmod 600 /etc/gshadow && mv /var/mail /mail && cp -a /given /copied
RUN mv /given/file /given/moved && rm /given/set-id && rm -rf /var/local && mkfifo /fifo
RUN cp /bin/true /set-id && chmod 6755 /set-id && chown root:root /set-id && ln -s nowhere /link
DOCKERFILE
    cat >"$1/stages/Dockerfile" <<'DOCKERFILE'
FROM base AS one
RUN echo one >/one
FROM one AS two
RUN echo two >/two && rm /one
FROM one AS three
RUN echo three >/three
FROM base
COPY --from=two /two /
RUN cat /two >/copied
COPY --from=three /three /one /
RUN cat /three /one >>/copied
DOCKERFILE
}

# Contexts whose commands are root and give nothing to anybody else, but do change what is not root's.
OF_ROOT='hardened package script stages plain'

# builds HOW STORE COMMAND...: digests of the corpus, built by `COMMAND... build`. That HOW it is isolated
# is told, and shows in what a command sees.
builds() {
    local how=$1 store=$2 context contexts
    shift 2
    contexts=${CONTEXTS:-users files $OF_ROOT}
    cat >"corpus/look" <<'DOCKERFILE'
FROM base
RUN echo "seen: $(head -n 1 /proc/self/uid_map 2>/dev/null | tr -s ' ')"
DOCKERFILE
    "$@" --root "$store" --verbose build --progress plain --no-cache --isolation "$how" \
        --file "$CASE/corpus/look" "$CASE/corpus" >"look.$how" 2>&1 || { cat "look.$how" >&2; fail "$how: look" >&2; }
    contains "look.$how" "isolation: $how"
    for context in $contexts; do
        "$@" --root "$store" build --quiet --timestamp "$EPOCH" --build-arg SOURCE_DATE_EPOCH="$EPOCH" --no-cache \
            --isolation "$how" "$CASE/corpus/$context" >"log.$how.$context" 2>&1 ||
            { cat "log.$how.$context" >&2; fail "$how: $context" >&2; }
        echo "$context $(tail -n 1 "log.$how.$context")"
    done
    equal "what is left of $how in the store" '' "$(ls "$store/layers/tmp")"
}

# nothing_runs ARGUMENT: no process was started with it.
nothing_runs() {
    { set +x; } 2>/dev/null
    local left
    left=$(grep -laz "^$1\$" /proc/[0-9]*/cmdline 2>/dev/null || true)
    equal "processes left" '' "$left"
    set -x
}

# without_rights COMMAND...: as in a pod of Kubernetes that is restricted.
without_rights() {
    HOME=/nonexistent setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all \
        --no-new-privs "$@"
}

case_the_same_layers_in_every_isolation() {
    need_base
    need dpkg-deb jq
    local user
    user=$(new_user)
    corpus corpus
    chmod -R a+rX .
    copy_base "$CASE/root"
    builds root "$CASE/root" corten >digests.root
    contains look.root 'seen:  0 0 4294967295'
    copy_base "$CASE/chroot"
    builds chroot "$CASE/chroot" corten >digests.chroot
    # Nothing is mounted, so that there is no such file.
    grep -q 'seen: *$' look.chroot || { cat look.chroot; fail 'chroot has a /proc'; }
    copy_base "$CASE/userns"
    chown -R "$user" "$CASE/userns" "$CASE/corpus"
    builds userns "$CASE/userns" "$HERE/as-user" "$user" corten >digests.userns
    grep -q 'seen:  0 [1-9]' look.userns || { cat look.userns; fail 'userns is none'; }
    copy_base "$CASE/traced"
    chown -R 65534:65534 "$CASE/traced" "$CASE/corpus"
    builds traced "$CASE/traced" without_rights corten >digests.traced
    cat digests.root
    equal 'digests' "$(cat digests.root)" "$(cat digests.traced)"
    equal 'digests' "$(cat digests.root)" "$(cat digests.chroot)"
    equal 'digests' "$(cat digests.root)" "$(cat digests.userns)"
    nothing_runs 4711
}

# alone NAME COMMAND...: as an ordinary user without subordinate ids, who is made for this.
alone() {
    local name=$1
    shift
    "$HERE/as-user" "$name" "$@"
}

# new_user_alone: prints the name of a user whom nobody gave subordinate ids.
new_user_alone() {
    need useradd setpriv
    local name=corten-a$$
    if ! id "$name" >/dev/null 2>&1; then
        useradd --no-create-home --home-dir "$CASE/home" --shell /bin/bash "$name" >&2
        sed -i "/^$name:/d" /etc/subuid /etc/subgid
    fi
    echo "$name"
}

case_one_id_makes_the_same_layers() {
    need_base
    need dpkg-deb jq
    local user problem
    user=$(new_user_alone)
    # shellcheck disable=SC2064
    trap "userdel $user" EXIT
    corpus corpus
    chmod -R a+rX .
    copy_base "$CASE/root"
    CONTEXTS=$OF_ROOT builds root "$CASE/root" corten >digests.root
    copy_base "$CASE/one"
    chown -R "$user" "$CASE/one" "$CASE/corpus"
    CONTEXTS=$OF_ROOT builds userns-one "$CASE/one" alone "$user" corten >digests.one
    grep -q 'seen:  0 [1-9][0-9]* 1$' look.userns-one || { cat look.userns-one; fail 'userns-one has more ids'; }
    cat digests.root
    equal 'digests' "$(cat digests.root)" "$(cat digests.one)"
    # It is what is found without being asked for.
    alone "$user" corten --root "$CASE/one" --verbose build --no-cache "$CASE/corpus/stages" >auto 2>&1
    contains auto 'isolation: userns-one'
    alone "$user" corten --root "$CASE/one" doctor --format json >doctor.json
    equal 'the isolation doctor names' userns-one "$(jq -r .isolation doctor.json)"
    # What takes a second id fails, whatever the command makes of it.
    refuse() {
        printf 'FROM base\n%s\n' "$2" >"$CASE/corpus/look"
        ! alone "$user" corten --root "$CASE/one" build --no-cache --progress plain --file "$CASE/corpus/look" \
            "$CASE/corpus" >refused 2>&1 || fail "$2: is done"
        contains refused "$1"
    }
    refuse 'isolated by userns-one: nothing can be given' 'RUN chown 5 /etc/passwd'
    refuse 'APT::Sandbox::User=root' 'RUN perl -e '"'"'$( = 5; $) = "5 5"; die "setgroups: $!" if $!'"'"
    refuse 'the owner of `etc/shadow` is not known' 'RUN chown root:root /etc/shadow'
    refuse 'took the place' 'RUN cp /etc/shadow /x && mv /x /etc/shadow'
    refuse 'looks like a copy' 'RUN cp -p /etc/shadow /x'
    refuse 'hands on a group' 'RUN touch /var/mail/new'
    refuse 'no user `nobody`' 'USER nobody
RUN echo ran'
    refuse 'no user but root' 'RUN echo ran
USER 5
RUN true'
    ! grep -q '^#' refused || fail 'something ran before a user was refused'
    refuse 'nothing can belong' 'RUN --mount=type=secret,id=a,uid=5 true'
    # gc is for whoever made the store.
    alone "$user" corten --root "$CASE/one" gc --cache >/dev/null
}

case_a_default_container_builds_by_chroot() {
    need_base
    need dpkg-deb jq
    start_docker
    corpus corpus
    copy_base "$CASE/root"
    builds root "$CASE/root" corten >digests.root
    peer_docker import "$(base_tar)" box >/dev/null
    copy_base "$CASE/inside"
    # Docker's own capabilities and system call filter: no mount, and no namespace.
    in_box() { peer_docker run --rm --network none --volume "$CASE:$CASE" --volume "$WORK/bin:/corten:ro" box "$@"; }
    in_box /corten/corten doctor --format json >doctor.json || { cat doctor.json; fail doctor; }
    equal 'the isolation doctor names' chroot "$(jq -r .isolation doctor.json)"
    equal 'mount namespaces' false "$(jq '.primitives[] | select(.what == "mount namespace") | .problem == null' doctor.json)"
    equal 'chroot' true "$(jq '.primitives[] | select(.what == "chroot") | .problem == null' doctor.json)"
    builds chroot "$CASE/inside" in_box /corten/corten >digests.inside
    equal 'digests' "$(cat digests.root)" "$(cat digests.inside)"
    # It is what is found without being asked for, and the others are refused before anything runs.
    in_box /corten/corten --root "$CASE/inside" --verbose build --no-cache "$CASE/corpus/stages" >auto 2>&1
    contains auto 'isolation: chroot'
    local how
    for how in root userns none; do
        ! in_box /corten/corten --root "$CASE/inside" build --no-cache --isolation $how "$CASE/corpus/stages" >refused 2>&1
        ! grep -q '^#' refused || fail "something ran before $how was refused"
    done
    # The classic way out of a root directory, with a capability that is there.
    mkdir way
    echo secret >"$CASE/secret"
    cat >way/Dockerfile <<DOCKERFILE
FROM base
RUN perl -e 'mkdir "/in"; chroot "/in" or print "no chroot\n"; chdir "../" for 1 .. 64; chroot "."; \
    print -e "$CASE/secret" ? "out\n" : "in\n"; print open(F, "$CASE/secret") ? "read\n" : "not read\n"'
DOCKERFILE
    in_box /corten/corten --root "$CASE/inside" build --no-cache --progress plain "$CASE/way" >way.log 2>&1 || true
    contains way.log 'not read'
}

case_a_restricted_container_builds_supervised() {
    need_base
    need dpkg-deb jq
    start_docker
    corpus corpus
    copy_base "$CASE/root"
    builds root "$CASE/root" corten >digests.root
    peer_docker import "$(base_tar)" box >/dev/null
    copy_base "$CASE/inside"
    mkdir way
    echo secret >"$CASE/secret"
    # Calls past the library, a race of links, and the memory of whoever supervises.
    cat >way/Dockerfile <<DOCKERFILE
FROM base
RUN <<SCRIPT
#!/usr/bin/perl
my (\$secret, \$out) = ("$CASE/secret", "$CASE/inside/out");
my \$up = "../" x 32;
sub refused {
    my (\$what, \$number, @rest) = @_;
    print syscall(\$number, @rest) == -1 ? "refused \$what: \$!\n" : "REACHED \$what\n";
}
my (\$how, \$handle) = (pack("QQQ", 0, 0, 0), pack("II", 128, 0) . "x" x 128);
refused("open", 2, \$secret, 0);
refused("openat2", 437, -100, "\$up\$secret", \$how, 24);
refused("handle", 303, -100, "/etc/passwd", \$handle, "xxxx", 0);
refused("by handle", 304, -100, \$handle, 0);
refused("io_uring", 425, 8, my \$params = "\0" x 120);
refused("ptrace", 101, 16, getppid() + 0, 0, 0);
refused("rename", 316, -100, "/etc/passwd", -100, \$out, 0);
refused("link", 265, -100, \$secret, -100, "/etc/hard", 0);
refused("chroot", 161, "/etc");
refused("mount", 165, "a", "/etc", "tmpfs", 0, 0);
refused("x32", 0x40000000 + 2, \$secret, 0);
opendir my \$proc, "/proc" or die;
for my \$pid (grep /^[0-9]+\$/ && \$_ != \$\$, readdir \$proc) {
    my (\$bytes, \$local, \$remote) = ("x" x 8);
    \$local = pack("PQ", \$bytes, 8);
    \$remote = pack("QQ", 0x400000, 8);
    next if -e "/proc/\$pid/stat";
    refused("memory of \$pid", 311, \$pid + 0, \$local, 1, \$remote, 1, 0);
    refused("root of \$pid", 2, "/proc/\$pid/root\$secret", 0);
    refused("signal to \$pid", 62, \$pid + 0, 0);
}
mkdir "/race"; mkdir "/race/in";
my \$child = fork;
if (!\$child) {
    while (1) { symlink "/", "/race/new"; rename "/race/new", "/race/l"; symlink "in", "/race/new"; rename "/race/new", "/race/l" }
}
for (1 .. 3000) { print "REACHED by race\n" if -e "/race/l\$secret" || open my \$file, "<", "/race/l/\$up\$secret" }
kill 9, \$child;
system("rm", "-r", "/race");
print "all tried\n";
SCRIPT
DOCKERFILE
    chmod -R a+rX .
    chown -R 65534:65534 "$CASE/inside" "$CASE/corpus" "$CASE/way"
    # What Kubernetes calls restricted.
    in_pod() {
        peer_docker run --rm --network none --user 65534:65534 --cap-drop ALL --security-opt no-new-privileges \
            --volume "$CASE:$CASE" --volume "$WORK/bin:/corten:ro" box "$@"
    }
    in_pod /corten/corten doctor --format json >doctor.json || { cat doctor.json; fail doctor; }
    equal 'the isolation doctor names' traced "$(jq -r .isolation doctor.json)"
    # It is what is found without being asked for.
    in_pod /corten/corten --root "$CASE/inside" --verbose build --no-cache --progress plain "$CASE/way" \
        >way.log 2>&1 || { cat way.log; fail 'the ways out'; }
    cat way.log
    contains way.log 'isolation: traced'
    contains way.log 'all tried'
    contains way.log 'the weakest way'
    # What it cannot do is an error before anything runs.
    mkdir beyond
    cat >beyond/Dockerfile <<'DOCKERFILE'
FROM base
RUN echo ran
RUN --security=insecure true
RUN --mount=type=tmpfs,target=/t,size=1m true
DOCKERFILE
    ! in_pod /corten/corten --root "$CASE/inside" build --allow security.insecure --shm-size 1m --no-cache \
        --progress plain "$CASE/beyond" >beyond.log 2>&1 || fail 'all of it was had'
    contains beyond.log 'no command can be given more rights where commands are isolated by `traced`'
    contains beyond.log 'the size of a directory cannot be limited'
    contains beyond.log 'the size of `/dev/shm` cannot be set'
    ! grep -q '^ran' beyond.log || fail 'something ran'
    ! grep -q REACHED way.log || fail 'something was reached'
    builds traced "$CASE/inside" in_pod /corten/corten >digests.inside
    equal 'digests' "$(cat digests.root)" "$(cat digests.inside)"
}

# interrupted HOW COMMAND...: Ctrl-C ends a RUN in less than a second, with nothing left. Removing a
# directory of all files may take longer on a busy disk.
interrupted() {
    local how=$1 started_at ended pid status=0
    shift
    "$@" --root "$CASE/store" build --progress plain --no-cache --isolation "$how" "$CASE/nap" >"nap.$how" 2>&1 &
    pid=$!
    until_true 60 grep -q 'asleep$' "nap.$how"
    started_at=$(date +%s%N)
    kill -INT "$pid"
    until ! grep -qaz '^4712$' /proc/[0-9]*/cmdline 2>/dev/null; do
        (($(date +%s%N) - started_at < 20000000000)) || fail "$how: its commands do not end"
    done
    ended=$((($(date +%s%N) - started_at) / 1000000))
    ((ended < 1000)) || fail "$how: its commands took $ended ms to end"
    wait "$pid" || status=$?
    note "$how: commands ended after $ended ms, all after $((($(date +%s%N) - started_at) / 1000000)) ms"
    equal "$how: exit status" 130 "$status"
    nothing_runs 4712
    equal "$how: mounts left" '' "$(grep "$CASE" /proc/self/mounts || true)"
    equal "$how: left in the store" '' "$(ls "$CASE/store/layers/tmp")"
}

case_ctrl_c_leaves_nothing() {
    need_base
    local user
    user=$(new_user)
    copy_base "$CASE/store"
    mkdir nap
    cat >nap/Dockerfile <<'DOCKERFILE'
FROM base
RUN echo first
RUN (setsid sh -c 'trap "" INT TERM; sleep 4712; sleep 4712' &) ; seq 5 >/file; echo asleep; sleep 4712
DOCKERFILE
    # A shell starts what is in the background with SIGINT ignored.
    local heeding=(python3 -c 'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])')
    interrupted root "${heeding[@]}" corten
    interrupted chroot "${heeding[@]}" corten
    corten --root "$CASE/store" gc --cache
    rm -rf "$CASE/store/layers"
    chown -R "$user" "$CASE/store" "$CASE/nap"
    interrupted userns "${heeding[@]}" "$HERE/as-user" "$user" corten
    rm -rf "$CASE/store/layers"
    chown -R 65534:65534 "$CASE/store" "$CASE/nap"
    interrupted traced "${heeding[@]}" env HOME=/nonexistent setpriv --reuid 65534 --regid 65534 --clear-groups \
        --bounding-set=-all --inh-caps=-all --no-new-privs corten
}
