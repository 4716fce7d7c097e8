# shellcheck shell=bash disable=SC2154
# What comes out of a build, and whether it comes out again.

# differs TEXT...: the build of `Dockerfile` on standard input does not repeat, for these reasons.
differs() {
    local text status=0
    mkdir -p context
    cat >context/Dockerfile
    corten --root "$CASE/store" build --verify-reproducible context >out 2>err || status=$?
    equal 'exit status' 1 "$status"
    equal 'what it prints' '' "$(cat out)"
    for text; do contains err "$text"; done
}

case_verify_reproducible_names_the_first_difference() {
    need_base
    copy_base "$CASE/store"
    # shellcheck disable=SC2016
    differs 'line 3: `RUN head -c 8 /dev/urandom >/random`' 'the content of `/random` differs from byte' <<'DOCKERFILE'
FROM base
RUN echo same >/same
RUN head -c 8 /dev/urandom >/random
RUN cat /random >/copy
DOCKERFILE
    # shellcheck disable=SC2016
    differs 'line 2: `RUN date +%s%N >/time' 'the content of `/time` differs from byte' <<'DOCKERFILE'
FROM base AS made
RUN date +%s%N >/time
FROM base
COPY --from=made /time /
DOCKERFILE
    # shellcheck disable=SC2016
    differs 'line 2: `RUN touch /file-$(cat' 'is only in the' <<'DOCKERFILE'
FROM base
RUN touch /file-$(cat /proc/sys/kernel/random/uuid)
DOCKERFILE
    cat >context/Dockerfile <<'DOCKERFILE'
FROM base
RUN mkdir -p /a/b && echo same >/a/b/c && date
COPY Dockerfile /
DOCKERFILE
    corten --root "$CASE/store" build --verify-reproducible=json --timestamp "$EPOCH" context >out
    equal 'repeats' true "$(jq .reproducible out)"
    SOURCE_DATE_EPOCH=$EPOCH corten --root "$CASE/store" build --digest-file digest context
    equal 'digest' "$(cat digest)" "$(jq -r .digest out)"
    equal 'names in the store' 1 "$(corten --root "$CASE/store" images -q | wc -l)"
}

case_the_next_step_sees_clamped_times() {
    need_base
    copy_base "$CASE/store"
    mkdir context
    # As make and servers with ETags by time do: two files of the same time are up to date.
    cat >context/Dockerfile <<'DOCKERFILE'
FROM base
ARG EPOCH
RUN echo source >/source && echo target >/target && touch -d @5 /old && mkdir /new && stat -c %Y /etc/passwd >/base
RUN test "$(stat -c %Y /source /target /new | sort -u)" = "$EPOCH" && test "$(stat -c %Y /old)" = 5
RUN ! test /source -nt /target && ! test /target -nt /source
RUN test "$(stat -c %Y /etc/passwd)" = "$(cat /base)"
DOCKERFILE
    corten --root "$CASE/store" build --build-arg EPOCH="$EPOCH" --timestamp "$EPOCH" --output type=tar,dest=clamped.tar context
    corten --root "$CASE/store" save --format oci-archive -o base.tar base
    corten --root "$CASE/store" build --build-arg EPOCH=1 --timestamp 1 --tag early - <<'DOCKERFILE'
FROM base
RUN echo new >/new
DOCKERFILE
    # The layers of the base stay as they are, however late their times.
    equal 'layers of the base' "$(corten --root "$CASE/store" inspect --format json base | jq -c '.layers[0].digest')" \
        "$(corten --root "$CASE/store" inspect --format json early | jq -c '.layers[0].digest')"
    # Without a latest time they stay.
    cat >context/Dockerfile <<'DOCKERFILE'
FROM base
RUN touch -d @2000000000 /late
RUN test "$(stat -c %Y /late)" = 2000000000
DOCKERFILE
    corten --root "$CASE/store" build context
}
