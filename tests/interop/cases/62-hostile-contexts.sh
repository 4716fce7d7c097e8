# shellcheck shell=bash disable=SC2154
# Contexts with what is no file, with names that are no text, with links out of them, and contexts that change
# while they are built from.

# copies EXPECTED LINE...: builds these lines on nothing, from `context`; EXPECTED is what of the result
# `tar --list` shows, or what the error says after `error: `.
copies() {
    { set +x; } 2>/dev/null
    local expected=$1 status=0
    shift
    printf '%s\n' 'FROM scratch' "$@" >Dockerfile
    rm -f out.tar
    timeout 120 corten --root "$CASE/store" build --no-cache --progress plain --file Dockerfile \
        --output type=tar,dest=out.tar context >log 2>&1 || status=$?
    ! grep -qa panicked log || { cat log; fail "$*: it panics"; }
    if [[ $expected == 'error: '* ]]; then
        [[ $status == 1 ]] || fail "$*: status $status"
        contains log "${expected#error: }"
        [[ ! -e out.tar ]] || fail "$*: there is an output"
    else
        [[ $status == 0 ]] || { cat log; fail "$*: status $status"; }
        tar --list --verbose --quoting-style=escape --file out.tar >list
        contains list "$expected"
    fi
}

case_hostile_contexts() {
    need_root
    need python3
    mkdir -p context/{d,e}
    # shellcheck disable=SC2016
    python3 - <<'PYTHON'
import os, socket
os.chdir("context")
socket.socket(socket.AF_UNIX).bind("d/socket")
os.mkfifo("d/pipe")
open(b"d/\xff\xfe name", "w").close()
open("d/" + "n" * 255, "w").close()
open("d/f", "w").close()
os.mknod("d/device", 0o020644, os.makedev(1, 3))
for name, target in ("loop", "loop"), ("a", "b"), ("b", "a"), ("up", "../" * 20 + "etc/passwd"), ("out", "/etc/passwd"):
    os.symlink(target, "d/" + name)
os.symlink("../..", "e/up")
os.symlink("/etc", "e/etc")
PYTHON
    # All of a directory is taken as it is, but for sockets, which no layer can hold: they are empty files.
    copies ' d/\377\376 name' 'COPY d /d'
    copies ' d/nnnnnnnnnn' 'COPY d /d'
    copies ' d/loop -> loop' 'COPY d /d'
    copies ' d/out -> /etc/passwd' 'COPY d /d'
    contains list 'prw-'
    contains list 'crw-'
    contains list ' d/socket'
    ! grep -q '^s' list || fail 'a socket is in the layer'
    copies ' x/\377\376 name' 'COPY d/*name /x/'
    copies 'prw-' 'COPY d/pipe /x'
    copies 'crw-' 'COPY d/device /x'
    copies '-rwxr-xr-x' 'COPY d/socket /x'
    # A link is followed within the context alone, and not for ever.
    local line
    for line in d/up d/out e/up/context/d/f e/etc/passwd e/etc ../context/d/f/x; do
        copies 'error: is not in the build context' "COPY $line /x"
    done
    copies 'error: leads through more than 40 symbolic links' 'COPY d/loop /x'
    copies 'error: leads through more than 40 symbolic links' 'COPY d/a /x'
    # Thousands of exclusions take time by their number, and no more.
    seq -f 'no-such-%g*/**/x?[a-c]' 5000 >context/.dockerignore
    echo '!d/f' >>context/.dockerignore
    copies ' d/f' 'COPY d /d'
    rm context/.dockerignore
    # Who may not read a file is told which.
    local user
    user=$(new_user)
    rm -rf store
    chmod 755 .
    echo hidden >context/hidden
    chmod 000 context/hidden
    mkdir user
    chown "$user" user
    printf 'FROM scratch\nCOPY hidden /\n' >Dockerfile
    ! "$HERE/as-user" "$user" corten --root "$CASE/user/store" build --file "$CASE/Dockerfile" "$CASE/context" >log 2>&1 ||
        fail 'what may not be read was copied'
    contains log 'hidden`'
    contains log 'Permission denied'
    # Nobody needs to read what is not copied.
    printf 'FROM scratch\nCOPY d/f /\n' >Dockerfile
    "$HERE/as-user" "$user" corten --root "$CASE/user/store" build -q --file "$CASE/Dockerfile" "$CASE/context"
}

# between EXPECTED CHANGE LINE: `context` is changed while a command before LINE runs.
between() {
    { set +x; } 2>/dev/null
    local expected=$1 change=$2 line=$3 status=0 builder
    rm -rf context out store/run-caches
    mkdir -p context/d
    echo first | tee context/f >context/d/passwd
    printf '%s\n' 'FROM small' 'RUN --mount=type=cache,target=/c mkfifo /c/go && cat /c/go' "$line" >Dockerfile
    timeout 120 corten --root "$CASE/store" build --no-cache --file Dockerfile --output type=local,dest=out context >log 2>&1 &
    builder=$!
    until_true 30 eval '[[ $(find store/run-caches -name go) ]]' || { cat log; fail "$change: no command"; }
    (cd context && eval "$change")
    timeout 20 sh -c 'echo >"$1"' sh "$(find store/run-caches -name go)"
    wait "$builder" || status=$?
    if [[ $expected == 'error: '* ]]; then
        [[ $status == 1 ]] || fail "$change: status $status"
        contains log "${expected#error: }"
    else
        [[ $status == 0 ]] || { cat log; fail "$change: status $status"; }
        equal "$change" "$expected" "$(cat out/x)"
    fi
}

case_contexts_change_before_they_are_read() {
    need_root
    small_base "$CASE/store"
    between first 'true' 'COPY f /x'
    between "$(echo first; echo more)" 'echo more >>f' 'COPY f /x'
    between '' ': >f' 'COPY f /x'
    between 'error: `f` is not in the build context' 'rm f' 'COPY f /x'
    between 'error: `d` is not in the build context' 'rm -r d' 'COPY d /x'
    between 'error: `f` is not in the build context' 'rm f; ln -s /etc/passwd f' 'COPY f /x'
    between 'error: `d/passwd` is not in the build context' 'mv d e; ln -s /etc d' 'COPY d/passwd /x'
    between 'error: `d` is not in the build context' 'mv d e; ln -s /etc d' 'COPY d /x'
}

case_contexts_change_while_they_are_read() {
    need_root
    need python3
    mkdir context outside
    local n status n_built=0
    for n in $(seq 0 19); do
        echo ESCAPED >"outside/f$n"
    done
    python3 "$HERE/files/swap.py" context outside >ready &
    started+=($!)
    until_true 20 grep -q ready ready
    printf '%s\n' 'FROM scratch' 'COPY . /a' 'COPY d /b' 'COPY f gone* /c/' >Dockerfile
    { set +x; } 2>/dev/null
    for n in $(seq 40); do
        rm -f out.tar
        status=0
        timeout 120 corten --root "$CASE/store" build --no-cache --file Dockerfile --output type=tar,dest=out.tar \
            context >log 2>&1 || status=$?
        [[ $status == [01] ]] || { cat log; fail "status $status"; }
        [[ $status == 1 ]] || n_built=$((n_built + 1))
        [[ $status == 0 ]] || grep -qE 'it changed while|symbolic links|not in the build context|No such file|Not a directory' log ||
            { cat log; fail 'it does not say what changed'; }
        [[ ! -e out.tar ]] || ! grep -qa ESCAPED out.tar || fail 'a file outside of the context is in the layer'
        ! grep -rqa ESCAPED store/blobs || fail 'a file outside of the context is in the store'
    done
    note "40 builds, $n_built without a change that showed"
    corten --root "$CASE/store" fsck
    equal 'what is left' '' "$(ls store/layers/tmp)"
}
