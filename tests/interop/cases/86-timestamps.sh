# shellcheck shell=bash disable=SC2154
# What programs that look at times make of clamped ones: Python, make, and a server whose ETag is made of time and
# size, as that of nginx is. `docs/design/timestamps.md` says what follows.

# tools: copies make and Debian's Python, with the libraries and modules that they need, into the directory `tools`.
tools() {
    need make /usr/bin/python3
    local program library version
    version=$(/usr/bin/python3 -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    mkdir -p tools/bin "tools/lib/$version"
    for program in make /usr/bin/python3; do
        program=$(readlink -f "$(command -v "$program")")
        cp "$program" "tools/bin/$(basename "${program/$version/python3}")"
        while read -r library; do cp -L "$library" tools/lib/; done < <(ldd "$program" | grep -o '/[^ ]*\.so[^ ]*' |
            grep -v '/ld-linux\|/libc\.so')
    done
    cp "/usr/lib/$version"/*.py "tools/lib/$version/"
    cp -r "/usr/lib/$version"/{encodings,collections,importlib,re} "tools/lib/$version/"
    cat >tools/run <<'SH'
#!/bin/sh
exec env PYTHONHOME=/tools LD_LIBRARY_PATH=/tools/lib PATH="/tools/bin:$PATH" "$@"
SH
    chmod 755 tools/run
}

# build_with_tools ARGUMENT...: builds the Dockerfile on standard input, with @ for a RUN that has the tools.
build_with_tools() {
    mkdir -p context
    sed 's|^@|RUN --mount=type=bind,from=tools,target=/tools /tools/run |' >context/Dockerfile
    corten --root "$CASE/store" build --build-context tools=tools --timestamp "$EPOCH" --no-cache --progress plain "$@" \
        context >out 2>log || { cat log; fail 'the build'; }
}

IMPORT='python3 -S -v -c "import sys; sys.path[:0] = [\"/app\"]; import m; print(m.ANSWER)"'

case_python_takes_what_an_earlier_step_compiled() {
    need_base
    copy_base "$CASE/store"
    tools
    mkdir context
    echo 'ANSWER = 42' >context/m.py
    # Of another step, and younger than the clamp: it is clamped before Python sees it.
    build_with_tools <<DOCKERFILE
FROM base
COPY m.py /app/
@$IMPORT
@$IMPORT
DOCKERFILE
    equal 'times compiled' 1 "$(grep -c "# created '/app/__pycache__/m\." log)"
    contains log "matches /app/m.py"
    # Of the same step: what was compiled names the time before clamping, and Python compiles again.
    build_with_tools <<DOCKERFILE
FROM base
@sh -c 'mkdir /app && echo ANSWER = 43 >/app/m.py && $IMPORT'
@$IMPORT
@$IMPORT
DOCKERFILE
    contains log "bytecode is stale for 'm'"
    equal 'times compiled' 2 "$(grep -c "# created '/app/__pycache__/m\." log)"
    # Told not to look at times, it does not.
    build_with_tools <<DOCKERFILE
FROM base
@sh -c 'mkdir /app && echo ANSWER = 44 >/app/m.py && \
    python3 -S -c "import py_compile as p; p.compile(\"/app/m.py\", invalidation_mode=p.PycInvalidationMode.UNCHECKED_HASH)"'
@$IMPORT
DOCKERFILE
    equal 'times compiled' 0 "$(grep -c "# created '/app/__pycache__/m\." log || true)"
}

case_make_makes_nothing_again_in_the_next_step() {
    need_base
    copy_base "$CASE/store"
    tools
    mkdir context
    printf 'out: source\n\tcp source out\n' >context/Makefile
    build_with_tools <<'DOCKERFILE'
FROM base
WORKDIR /app
COPY Makefile ./
@sh -c 'echo one >source && make'
@make -q
@sh -c 'echo two >source && ! make -q'
@sh -c 'make -q && cmp source out || test "$(cat source out | tr -d "\n")" = twoone'
@sh -c 'touch -d @5 out && ! make -q'
@sh -c '! make -q'
DOCKERFILE
    # A target that a step made of an older source stays the younger one, although both are from before the clamp.
    build_with_tools <<'DOCKERFILE'
FROM base
WORKDIR /app
COPY Makefile ./
@sh -c 'echo one >source && touch -d @5 source && make && touch -d @6 out'
@sh -c 'make -q && test out -nt source'
DOCKERFILE
}

# headers OF: ETag and Last-Modified of the file in the directory, by a server that makes them as nginx does.
headers() {
    printf 'GET /f HTTP/1.0\r\n\r\n' | busybox httpd -i -h "$1" | tr -d '\r' | grep -i '^\(etag\|last-modified\):' | sort
}

case_an_etag_is_that_of_the_clamp() {
    need busybox
    need_base
    copy_base "$CASE/store"
    mkdir context
    served() { # served TEXT TIME DIRECTORY
        printf '%s' "$1" >context/f
        printf 'FROM scratch\nCOPY f /\n' >context/Dockerfile
        corten --root "$CASE/store" build --timestamp "$2" -o type=tar,dest=served.tar context
        mkdir "$3"
        tar -C "$3" -xf served.tar
    }
    served one "$EPOCH" first
    served two "$EPOCH" second
    served three "$EPOCH" longer
    served two "$((EPOCH + 60))" later
    contains <(headers first) "$(printf 'ETag: "%x-3"' "$EPOCH")"
    equal 'headers of another content of the same size' "$(headers first)" "$(headers second)"
    [[ $(headers first) != "$(headers longer)" ]] || fail 'another size has the same ETag'
    [[ $(headers second) != "$(headers later)" ]] || fail 'another time has the same ETag'
}
