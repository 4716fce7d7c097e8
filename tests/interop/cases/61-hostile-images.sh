# shellcheck shell=bash disable=SC2154
# Base images that somebody made to harm whoever builds on them: what is built is within the image, or
# nothing is, and it is told why.

# hostile DIR: writes the images, and a directory that they try to get at.
hostile() {
    need python3 busybox
    mkdir -p "$1/outside"
    echo untouched >"$1/outside/kept"
    python3 "$HERE/files/hostile-images.py" "$(command -v busybox)" "$1"
}

# on HOW IMAGE EXPECTED: builds `Dockerfile` on it; EXPECTED is `built`, or what the error says.
on() {
    { set +x; } 2>/dev/null
    local how=$1 image=$2 expected=$3 status=0
    timeout 60 corten --root "$CASE/store" build --no-cache --isolation "$how" --progress plain --target last \
        --file Dockerfile --build-context "hostile=oci-layout://$CASE/images/$image" --secret id=s,src=secret \
        context >log 2>&1 </dev/null || status=$?
    told=$((told + 1))
    ! grep -qa 'panicked' log || { cat log; fail "$image, $how: it panics"; }
    if [[ $expected == built ]]; then
        [[ $status == 0 ]] || { tail -n 20 log; fail "$image, $how: status $status"; }
    else
        [[ $status == [13] ]] || { tail -n 20 log; fail "$image, $how: status $status, expected \`$expected\`"; }
        grep -qaF -- "$expected" log || { tail -n 20 log; fail "$image, $how: it does not say \`$expected\`"; }
    fi
    equal "$image, $how: the file outside" untouched "$(cat images/outside/kept)"
    equal "$image, $how: all files outside" kept "$(ls images/outside)"
    equal "$image, $how: what is left" '' "$(ls store/layers/tmp 2>/dev/null || true)"
}

# table HOW...: reads lines `IMAGE... EXPECTED...`, where `:` stands between them.
table() {
    local images expected how image told=0
    while IFS=: read -r images expected; do
        for how; do
            for image in $images; do
                on "$how" "$image" "${expected# }"
            done
        done
    done
    note "$told builds"
    corten --root "$CASE/store" fsck
}

prepared() {
    need_root
    hostile images
    mkdir -p context
    echo here >context/here
    echo sesame >secret
}

# Links, pipes and directories where the builder reads users and mounts files.
case_hostile_places_stay_within_the_image() {
    prepared
    cat >Dockerfile <<'DOCKERFILE'
FROM hostile AS last
RUN --mount=type=secret,id=s test "$(cat /run/secrets/s)" = sesame && echo x >/dev/null && echo x >/etc/hosts
RUN --mount=type=tmpfs,target=/dev/shm/x --mount=type=cache,target=/var/c cat /etc/resolv.conf >/out
COPY here /etc/resolv.conf
DOCKERFILE
    table root chroot <<'TABLE'
etc-passwd-leads-out etc-passwd-leads-nowhere etc-passwd-is-a-file: built
etc-group-leads-out etc-group-leads-nowhere etc-group-is-a-file: built
etc-passwd-leads-round etc-group-leads-round: leads through more than 40 symbolic links
etc-passwd-is-a-pipe etc-passwd-is-a-directory etc-group-is-a-pipe: is not a regular file
etc-resolv.conf-leads-out etc-resolv.conf-leads-nowhere etc-resolv.conf-is-a-pipe etc-resolv.conf-is-a-file: built
etc-hosts-leads-out etc-hosts-leads-nowhere etc-hosts-is-a-pipe etc-hosts-is-a-file: built
etc-resolv.conf-leads-round etc-hosts-leads-round: leads through more than 40 symbolic links
etc-resolv.conf-is-a-directory: /etc/resolv.conf`
etc-hosts-is-a-directory: /etc/hosts`
proc-is-a-directory dev-is-a-directory dev-null-is-a-directory dev-null-is-a-pipe dev-null-leads-out: built
proc-leads-out proc-leads-nowhere proc-is-a-pipe proc-is-a-file: /proc`
dev-leads-out dev-leads-nowhere dev-is-a-pipe dev-is-a-file: /dev`
proc-leads-round dev-leads-round run-secrets-leads-round: leads through more than 40 symbolic links
run-secrets-leads-out run-secrets-leads-nowhere run-secrets-is-a-directory: built
run-secrets-is-a-pipe run-secrets-is-a-file: `/run/secrets/s`
shell-is-a-fifo shell-leads-out: cannot execute `/bin/sh`
TABLE
    # The machine's users are not looked up: of whom the image says nothing is root, as for BuildKit.
    printf '%s\n' 'FROM hostile AS last' 'COPY --chown=daemon here /a' >Dockerfile
    table root <<'TABLE'
etc-passwd-leads-out etc-passwd-leads-nowhere etc-passwd-is-a-file: built
etc-passwd-leads-round: leads through more than 40 symbolic links
etc-passwd-is-a-pipe etc-passwd-is-a-directory: is not a regular file
TABLE
    equal 'mounts left' '' "$(grep -F "$CASE" /proc/self/mounts || true)"
}

case_hostile_layers_stay_within_the_image() {
    prepared
    cat >Dockerfile <<'DOCKERFILE'
FROM hostile AS last
COPY here /a
COPY here /d/
RUN ls -lR / >/dev/null; echo x >/d/x && echo x >/d/kept
DOCKERFILE
    table root chroot <<'TABLE'
whiteout-out parent-replaced file-as-parent deep devices: built
deleted emptied: cannot execute `/bin/sh`
whiteout-of-nothing whiteout-of-the-parent: it is a whiteout of nothing, of `.` or of `..`
link-as-root: the root can only be a directory
hard-links hard-links-absolute hard-link-to-itself hard-link-through-link: the target of the hard link is not there
hard-link-to-directory: it is a hard link to a directory
TABLE
    # A device of the image is none for commands, who could otherwise read the disk of the machine.
    printf '%s\n' 'FROM hostile AS last' 'RUN ! cat /disk && ! cat /zero' >Dockerfile
    table root chroot <<<'devices: built'
}

case_hostile_configs_are_refused_or_mean_nothing() {
    prepared
    cat >Dockerfile <<'DOCKERFILE'
FROM hostile AS last
COPY here relative/
WORKDIR y
RUN pwd && echo x >z && id -u
DOCKERFILE
    table root <<'TABLE'
user-unknown user-lines: has no user called
user-number: the largest is 4294967294
user-negative: no user called `-1`
user-colons: there is no user before the colon
workdir-up workdir-out workdir-relative volumes env-lines shell-empty shell-other: built
env-path-empty env-path-relative entrypoint-null stop-signal ports: built
workdir-nul: a name holds a NUL byte
env-no-equals env-nul types-wrong labels fewer-layers more-layers: cannot be used
env-giant: cannot execute `/bin/sh`
env-many: built
other-layers: does not match its DiffID
history-long history-short-of-layers history-odd other-platform no-platform: built
TABLE
}

case_hostile_triggers() {
    prepared
    cat >Dockerfile <<'DOCKERFILE'
FROM scratch AS victim
COPY here /secret
FROM hostile AS last
RUN ls /
FROM scratch AS later
COPY here /x
DOCKERFILE
    table root <<'TABLE'
onbuild-from onbuild-from-lower: FROM cannot be an ONBUILD trigger
onbuild-onbuild: ONBUILD cannot be an ONBUILD trigger
onbuild-maintainer: MAINTAINER cannot be an ONBUILD trigger
onbuild-two onbuild-empty onbuild-blank onbuild-heredoc-more: an ONBUILD trigger is not one instruction
onbuild-heredoc-open: has no end
onbuild-nonsense: unknown instruction `FLY`
onbuild-insecure: `security.insecure` is not allowed
onbuild-copy-from-itself: a stage cannot copy from itself
onbuild-copy-from-later: comes after this one
onbuild-copy-from-gone onbuild-mount-from-number: cannot get the image
onbuild-copy-up: is not in the build context
onbuild-add-url: cannot fetch
onbuild-arg onbuild-heredoc onbuild-directive onbuild-escape onbuild-user onbuild-null: built
onbuild-copy-from-stage onbuild-copy-from-number onbuild-mount-from-stage onbuild-mount-context onbuild-mount-secret: built
onbuild-thousands onbuild-thousands-of-runs: built
TABLE
}
