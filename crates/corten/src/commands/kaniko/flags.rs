//! The flags of kaniko's executor, all of them, as one table.
//!
//! A table and not a struct, since what matters of a flag is the same for all: whether it is done, has
//! nothing to do here, or is refused. `docs/reference/build-flags.md` has it for users, and a test
//! compares the two.

/// A flag.
pub(super) struct Flag {
    /// What follows `--`.
    pub(super) name: &'static str,
    pub(super) short: Option<char>,
    /// Its older name.
    pub(super) alias: Option<&'static str>,
    pub(super) takes: Takes,
    pub(super) does: Does,
}

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, or `=true` or `=false`.
    Switch,
    /// A value; the last one counts.
    One,
    /// A value, each time that it is given.
    Many,
}

/// What comes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// What its help says.
    This(&'static str),
    /// Nothing, since it changes how kaniko works and not what it makes: the reason.
    Nothing(&'static str),
    /// Nothing, since it is always so; the opposite is refused with this reason.
    Always(&'static str),
    /// It is refused: the reason, and what to do instead.
    Refused(&'static str, &'static str),
}

use Does::{Always, Nothing, Refused, This};
use Takes::{Many, One, Switch};

const fn flag(name: &'static str, takes: Takes, does: Does) -> Flag {
    Flag {
        name,
        short: None,
        alias: None,
        takes,
        does,
    }
}

const fn short(name: &'static str, short: char, takes: Takes, does: Does) -> Flag {
    Flag {
        short: Some(short),
        ..flag(name, takes, does)
    }
}

const fn renamed(name: &'static str, alias: &'static str, takes: Takes, does: Does) -> Flag {
    Flag {
        alias: Some(alias),
        ..flag(name, takes, does)
    }
}

const OWN_ROOT: &str = "nothing is built in the executor's own root";

/// The flags of GoogleContainerTools/kaniko 1.24 and osscontainertools/kaniko 1.26, in order.
pub(super) const FLAGS: &[Flag] = &[
    flag(
        "annotation",
        Many,
        This("Annotate the manifest: `KEY=VALUE`"),
    ),
    short(
        "bucket",
        'b',
        One,
        This("Take the context from this bucket: `gs://` unless it says otherwise"),
    ),
    flag(
        "build-arg",
        Many,
        This("Set a variable that ARG declares; without a value, to what it is here"),
    ),
    flag(
        "cache",
        Switch,
        This("Take steps from the cache in a registry, and keep them there"),
    ),
    flag(
        "cache-copy-layers",
        Switch,
        Nothing("a step is known by what it copies, so that its result is the same"),
    ),
    flag(
        "cache-dir",
        One,
        Nothing("images of kaniko's warmer are not read; the store keeps base images"),
    ),
    flag(
        "cache-repo",
        One,
        This("The cache: a repository, or `oci:DIR` [default: DESTINATION/cache]"),
    ),
    flag(
        "cache-run-layers",
        Switch,
        Always("all steps are kept, or none; leave `--cache` out"),
    ),
    flag(
        "cache-ttl",
        One,
        This("Begin the cache anew after this time, such as `6h` [default: 336h]"),
    ),
    flag("cleanup", Switch, Nothing(OWN_ROOT)),
    flag(
        "compressed-caching",
        Switch,
        Nothing("layers are never held in memory"),
    ),
    flag(
        "compression",
        One,
        This("How to compress layers: `gzip` or `zstd`"),
    ),
    flag(
        "compression-level",
        One,
        This("How hard to compress; -1 for the usual"),
    ),
    short(
        "context",
        'c',
        One,
        This(
            "A directory, `dir://DIR`, `tar://FILE`, `tar://stdin`, `git://HOST/PATH#REF` or \
             `https://` and the rest of the URL of a tar [default: /workspace]",
        ),
    ),
    flag(
        "context-sub-path",
        One,
        This("Take this directory of the context for the context"),
    ),
    flag(
        "credential-helpers",
        Many,
        Refused(
            "helpers are those that the configuration names",
            "name them in `credHelpers` of Docker's `config.json`",
        ),
    ),
    renamed(
        "custom-platform",
        "customPlatform",
        One,
        This("Build for this platform [default: this machine's]"),
    ),
    short(
        "destination",
        'd',
        Many,
        This("What to call the image, and where to push it; may be repeated"),
    ),
    flag(
        "digest-file",
        One,
        This("Write the digest of the manifest to this file"),
    ),
    short(
        "dockerfile",
        'f',
        One,
        This("The Dockerfile: a path here or in the context, or a URL [default: Dockerfile]"),
    ),
    flag("force", Switch, Nothing(OWN_ROOT)),
    flag(
        "force-build-metadata",
        Switch,
        Nothing("only what changes files makes a layer, as for BuildKit"),
    ),
    flag(
        "git",
        Many,
        This(
            "How to take a git context: `branch=NAME`, `recurse-submodules=true`, `depth=N` or \
             `single-branch=true`",
        ),
    ),
    flag(
        "ignore-path",
        Many,
        Refused(
            "all that RUN leaves is in the image, and nothing of the executor's own root ever is",
            "leave it out, or remove the files in the RUN that makes them",
        ),
    ),
    flag(
        "ignore-var-run",
        Switch,
        Nothing("no `/var/run` of the executor's own is there to be ignored"),
    ),
    flag(
        "image-download-retry",
        One,
        This("Repeat a request at least this often"),
    ),
    flag(
        "image-fs-extract-retry",
        One,
        This("Repeat a request at least this often"),
    ),
    flag(
        "image-name-tag-with-digest-file",
        One,
        This("Write `NAME:TAG@DIGEST` to this file, a line for each destination"),
    ),
    flag(
        "image-name-with-digest-file",
        One,
        This("Write `NAME@DIGEST` to this file, a line for each destination"),
    ),
    flag(
        "insecure",
        Switch,
        This("Push without TLS to a registry that has none"),
    ),
    flag(
        "insecure-pull",
        Switch,
        This("Pull without TLS from registries that have none"),
    ),
    flag(
        "insecure-registry",
        Many,
        This("Do without TLS for this registry if it has none"),
    ),
    flag(
        "kaniko-dir",
        One,
        This("Keep images in `DIR/corten`, and find credentials in `DIR/.docker`"),
    ),
    flag("label", Many, This("Add a label to the image: `KEY=VALUE`")),
    flag(
        "log-format",
        One,
        This("How to show what happens: `text`, `color` or `json`"),
    ),
    flag(
        "log-timestamp",
        Switch,
        Nothing("plain lines have their times anyway"),
    ),
    flag(
        "materialize",
        Switch,
        Refused(
            "nothing is built in the executor's own root, which therefore does not become the image",
            "use `corten build --output type=local,dest=DIR`",
        ),
    ),
    flag("no-push", Switch, This("Do not push the image")),
    flag(
        "no-push-cache",
        Switch,
        This("Take steps from the cache, and add none"),
    ),
    flag(
        "oci-layout-path",
        One,
        This("Write the image to this directory as an image layout, too"),
    ),
    flag("pre-cleanup", Switch, Nothing(OWN_ROOT)),
    flag("preserve-context", Switch, Nothing(OWN_ROOT)),
    flag(
        "push-ignore-immutable-tag-errors",
        Switch,
        Refused(
            "an image that a registry refused was not pushed",
            "ask the registry for the tag before the build",
        ),
    ),
    flag(
        "push-retry",
        One,
        This("Repeat a request at least this often"),
    ),
    flag(
        "registry-certificate",
        Many,
        This("Trust the authorities in a PEM file for a registry: `HOST=FILE`"),
    ),
    flag(
        "registry-client-cert",
        Many,
        Refused(
            "certificates of clients are not supported",
            "sign in to the registry with a password or a token",
        ),
    ),
    flag(
        "registry-map",
        Many,
        This("Ask these first: `HOST=MIRROR[/PATH];HOST=MIRROR`"),
    ),
    flag(
        "registry-mirror",
        Many,
        This("Ask this mirror of docker.io first: `MIRROR[/PATH]`; may be repeated"),
    ),
    flag(
        "reproducible",
        Switch,
        This("Let nothing in the image be later than 1970"),
    ),
    flag(
        "secret",
        Many,
        This("A secret for RUN: `id=ID[,src=FILE][,env=NAME]`"),
    ),
    flag(
        "single-snapshot",
        Switch,
        Refused(
            "each step that changes files makes its own layer",
            "use `corten squash --from BASE NAME` after the build",
        ),
    ),
    flag(
        "skip-default-registry-fallback",
        Switch,
        This("Do not ask a registry itself for what none of its mirrors has"),
    ),
    flag(
        "skip-push-permission-check",
        Switch,
        Nothing("nothing is pushed before the image is built"),
    ),
    flag(
        "skip-tls-verify",
        Switch,
        This("Push to a registry with any certificate"),
    ),
    flag(
        "skip-tls-verify-pull",
        Switch,
        This("Pull from registries with any certificate"),
    ),
    flag(
        "skip-tls-verify-registry",
        Many,
        This("Accept any certificate of this registry"),
    ),
    flag(
        "skip-unused-stages",
        Switch,
        Always("only what is needed is built"),
    ),
    renamed(
        "snapshot-mode",
        "snapshotMode",
        One,
        Nothing("changes are always found by their content and all of their metadata"),
    ),
    renamed(
        "tar-path",
        "tarPath",
        One,
        This("Write the image to this file, as `docker save` does"),
    ),
    flag(
        "target",
        One,
        This("Build this stage [default: the last one]"),
    ),
    flag(
        "use-new-run",
        Switch,
        Nothing("what RUN changed is found without looking at every file anyway"),
    ),
    short(
        "verbosity",
        'v',
        One,
        This("How much to tell: trace, debug, info, warn, error, fatal or panic"),
    ),
    flag(
        "whitelist-var-run",
        Switch,
        Nothing("no `/var/run` of the executor's own is there to be ignored"),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = include_str!("../../../../../docs/reference/build-flags.md");

    fn row(flag: &Flag) -> String {
        let short = flag.short.map(|short| format!(", `-{short}`"));
        let alias = flag.alias.map(|alias| format!(", `--{alias}`"));
        let (state, text) = match flag.does {
            This(help) => ("done", help.to_owned()),
            Nothing(reason) => ("without effect", reason.to_owned()),
            Always(reason) => ("done", format!("always so; `=false` is refused: {reason}")),
            Refused(reason, instead) => ("refused", format!("{reason}; {instead}")),
        };
        let (short, alias) = (short.unwrap_or_default(), alias.unwrap_or_default());
        format!("| `--{}`{short}{alias} | {state} | {text} |", flag.name)
    }

    #[test]
    fn the_page_has_them_all_and_no_others() {
        let (_, section) = PAGE.split_once("\n## kaniko's executor").unwrap();
        let found: Vec<_> = section
            .lines()
            .filter(|line| line.starts_with("| `--"))
            .collect();
        let expected: Vec<_> = FLAGS.iter().map(row).collect();
        assert_eq!(found, expected, "wanted:\n{}", expected.join("\n"));
        let names: Vec<_> = FLAGS.iter().map(|flag| flag.name).collect();
        assert!(names.is_sorted(), "{names:?}");
    }
}
