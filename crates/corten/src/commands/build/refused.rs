//! Flags of other builders that `corten build` does not have: each with the reason, and what to do.
//!
//! Nothing is accepted and then ignored. `docs/reference/build-flags.md` has the same table for users,
//! and a test compares the two.

/// A flag that is refused.
struct Refused {
    flag: &'static str,
    short: Option<&'static str>,
    reason: &'static str,
    instead: &'static str,
}

/// Returns why `flag` is not there and what to do instead, if another builder has it.
pub(crate) fn explain(flag: &str) -> Option<(&'static str, &'static str)> {
    let same = |refused: &&Refused| refused.flag == flag || refused.short == Some(flag);
    let found = REFUSED.iter().find(same)?;
    Some((found.reason, found.instead))
}

const fn refuse(flag: &'static str, reason: &'static str, instead: &'static str) -> Refused {
    Refused {
        flag,
        short: None,
        reason,
        instead,
    }
}

const REFUSED: &[Refused] = &[
    refuse(
        "--all-platforms",
        "the platforms of the base image may be more than are wanted",
        "name them with `--platform`",
    ),
    refuse(
        "--arch",
        "the platform is one word",
        "use `--platform OS/ARCH[/VARIANT]`",
    ),
    refuse(
        "--authfile",
        "credentials are found as every command finds them",
        "set `REGISTRY_AUTH_FILE`",
    ),
    refuse(
        "--blob-cache",
        "the store is the cache of blobs",
        "name its directory with `--root`",
    ),
    refuse(
        "--build-arg-file",
        "arguments are given one by one",
        "use `--build-arg NAME=VALUE`",
    ),
    refuse(
        "--builder",
        "there is no builder to choose: the program builds itself",
        "leave it out",
    ),
    refuse(
        "--cache-ttl",
        "records of builds expire by `corten gc`",
        "use `corten gc --help`",
    ),
    refuse(
        "--call",
        "only builds are done by this command",
        "use `--check` to judge a Dockerfile",
    ),
    refuse(
        "--cap-add",
        "RUN has the default capabilities",
        "leave it out",
    ),
    refuse(
        "--cap-drop",
        "RUN has the default capabilities",
        "leave it out",
    ),
    refuse(
        "--cdi-config-dir",
        "RUN has no devices of the machine",
        "leave it out",
    ),
    refuse(
        "--cgroup-parent",
        "the group of RUN is the program's own",
        "start the program in the group that is meant",
    ),
    refuse(
        "--cgroupns",
        "RUN always has a cgroup namespace of its own",
        "leave it out",
    ),
    refuse(
        "--cni-config-dir",
        "there are no networks but the machine's and none",
        "leave it out",
    ),
    refuse(
        "--cni-plugin-path",
        "there are no networks but the machine's and none",
        "leave it out",
    ),
    refuse(
        "--compat-volumes",
        "what RUN writes into a volume is kept, as BuildKit does",
        "leave it out",
    ),
    refuse(
        "--cpp-flag",
        "the preprocessor is not run on a Dockerfile",
        "run `cpp` and hand its output to `-f -`",
    ),
    refuse(
        "--cpu-period",
        "processors are limited as a number",
        "use `--cpus`",
    ),
    refuse(
        "--cpu-quota",
        "processors are limited as a number",
        "use `--cpus`",
    ),
    Refused {
        flag: "--cpu-shares",
        short: Some("-c"),
        reason: "processors are limited as a number",
        instead: "use `--cpus`",
    },
    refuse(
        "--cpuset-cpus",
        "processors are limited as a number",
        "run the program under `taskset`",
    ),
    refuse(
        "--cpuset-mems",
        "processors are limited as a number",
        "run the program under `numactl`",
    ),
    refuse(
        "--created-annotation",
        "the manifest has no annotation of its time",
        "leave it out",
    ),
    refuse(
        "--creds",
        "a password among the arguments can be read by everyone",
        "use `corten login --password-stdin`",
    ),
    refuse(
        "--cw",
        "confidential workloads are not built",
        "leave it out",
    ),
    refuse(
        "--debug",
        "there is one log, on standard error",
        "use `--verbose`",
    ),
    refuse(
        "--decryption-key",
        "encrypted images cannot be read",
        "decrypt the image with skopeo first",
    ),
    refuse(
        "--device",
        "RUN has no devices of the machine",
        "leave it out",
    ),
    Refused {
        flag: "--disable-compression",
        short: Some("-D"),
        reason: "its meaning differs between tools",
        instead: "use `--compression none`",
    },
    refuse(
        "--env",
        "the environment of an image is said in its Dockerfile",
        "use ENV",
    ),
    refuse(
        "--from",
        "the Dockerfile says what it is based on",
        "use `--build-context NAME=docker-image://OTHER`",
    ),
    refuse(
        "--hooks-dir",
        "there is no runtime that has hooks",
        "leave it out",
    ),
    refuse(
        "--http-proxy",
        "variables of proxies reach RUN only if they are given",
        "use `--build-arg http_proxy=…`",
    ),
    refuse(
        "--identity-label",
        "no label is added that the Dockerfile does not have",
        "use `--label`",
    ),
    refuse(
        "--inherit-annotations",
        "annotations of base images are not inherited",
        "leave it out",
    ),
    refuse(
        "--inherit-labels",
        "labels of base images are always inherited, as BuildKit does",
        "leave it out",
    ),
    refuse(
        "--ipc",
        "RUN always has namespaces of its own",
        "leave it out",
    ),
    refuse(
        "--layer-label",
        "only the image that is asked for gets labels",
        "use `--label`",
    ),
    refuse(
        "--log-rusage",
        "resources are not measured",
        "run the program under `time -v`",
    ),
    refuse("--logfile", "the log is standard error", "redirect it"),
    refuse("--loglevel", "the log has two levels", "use `--verbose`"),
    refuse("--logsplit", "the log is standard error", "redirect it"),
    refuse(
        "--manifest",
        "several platforms make an index without it",
        "use `--platform` and `--tag`",
    ),
    refuse(
        "--memory-swap",
        "memory is limited without swap",
        "use `--memory`",
    ),
    refuse(
        "--no-hostname",
        "`/etc/hostname` never gets into a layer",
        "leave it out",
    ),
    refuse(
        "--no-hosts",
        "`/etc/hosts` never gets into a layer",
        "leave it out",
    ),
    refuse(
        "--omit-history",
        "history is part of what makes an image repeat",
        "use `corten flatten` to have one entry",
    ),
    refuse(
        "--os",
        "the platform is one word",
        "use `--platform OS/ARCH[/VARIANT]`",
    ),
    refuse(
        "--os-feature",
        "it belongs to images of Windows, where nothing can be run",
        "leave it out",
    ),
    refuse(
        "--os-version",
        "it belongs to images of Windows, where nothing can be run",
        "leave it out",
    ),
    refuse(
        "--pid",
        "RUN always has namespaces of its own",
        "leave it out",
    ),
    refuse(
        "--policy",
        "policies in Rego are not read",
        "write rules for `--source-policy`",
    ),
    refuse(
        "--print",
        "only builds are done by this command",
        "use `--print-plan`",
    ),
    refuse(
        "--pull-always",
        "there is one flag for it",
        "use `--pull=always`",
    ),
    refuse(
        "--pull-never",
        "there is one flag for it",
        "use `--pull=never`",
    ),
    refuse(
        "--resource",
        "resources are limited one by one",
        "use `--memory` and `--cpus`",
    ),
    refuse(
        "--retry",
        "requests are repeated as the registry asks for",
        "leave it out",
    ),
    refuse(
        "--retry-delay",
        "requests are repeated as the registry asks for",
        "leave it out",
    ),
    refuse(
        "--runtime",
        "there is no other runtime than the program itself",
        "leave it out",
    ),
    refuse(
        "--runtime-flag",
        "there is no other runtime than the program itself",
        "leave it out",
    ),
    refuse(
        "--rusage-logfile",
        "resources are not measured",
        "run the program under `time -v`",
    ),
    refuse(
        "--sbom",
        "bills of materials are not made",
        "run a scanner on the image",
    ),
    refuse(
        "--sbom-image-output",
        "bills of materials are not made",
        "run a scanner on the image",
    ),
    refuse(
        "--sbom-image-purl-output",
        "bills of materials are not made",
        "run a scanner on the image",
    ),
    refuse(
        "--sbom-merge-strategy",
        "bills of materials are not made",
        "run a scanner on the image",
    ),
    refuse(
        "--sbom-output",
        "bills of materials are not made",
        "run a scanner on the image",
    ),
    refuse(
        "--sbom-purl-output",
        "bills of materials are not made",
        "run a scanner on the image",
    ),
    refuse(
        "--sbom-scanner-command",
        "bills of materials are not made",
        "run a scanner on the image",
    ),
    refuse(
        "--sbom-scanner-image",
        "bills of materials are not made",
        "run a scanner on the image",
    ),
    refuse(
        "--security-opt",
        "RUN always has the default seccomp filter",
        "leave it out",
    ),
    refuse(
        "--sign-by",
        "images are not signed while they are built",
        "sign the image with other tools",
    ),
    refuse(
        "--signature-policy",
        "signatures are not checked while base images are pulled",
        "pin them in the Dockerfile by digest",
    ),
    refuse(
        "--squash-all",
        "layers are squashed after the build",
        "use `corten flatten NAME`",
    ),
    refuse(
        "--stdin",
        "RUN reads nothing, so that it does the same everywhere",
        "hand it a file with `RUN --mount`",
    ),
    refuse(
        "--unsetannotation",
        "annotations of base images are not inherited",
        "leave it out",
    ),
    refuse(
        "--unsetenv",
        "the environment of an image is said in its Dockerfile",
        "use ENV there",
    ),
    refuse(
        "--unsetlabel",
        "labels of an image are said in its Dockerfile",
        "use LABEL there, with an empty value",
    ),
    refuse(
        "--userns",
        "the tier of isolation decides about user namespaces",
        "use `--isolation`",
    ),
    refuse(
        "--userns-gid-map",
        "the tier of isolation decides about user namespaces",
        "use `--isolation`",
    ),
    refuse(
        "--userns-gid-map-group",
        "the tier of isolation decides about user namespaces",
        "use `--isolation`",
    ),
    refuse(
        "--userns-uid-map",
        "the tier of isolation decides about user namespaces",
        "use `--isolation`",
    ),
    refuse(
        "--userns-uid-map-user",
        "the tier of isolation decides about user namespaces",
        "use `--isolation`",
    ),
    refuse(
        "--uts",
        "RUN always has namespaces of its own",
        "leave it out",
    ),
    refuse(
        "--variant",
        "the platform is one word",
        "use `--platform OS/ARCH[/VARIANT]`",
    ),
    Refused {
        flag: "--volume",
        short: Some("-v"),
        reason: "what RUN sees is said in the Dockerfile",
        instead: "use `RUN --mount=type=bind` with `--build-context`",
    },
];
