//! The environment, read once. No other file, and no library, looks at it.
//!
//! `NO_COLOR` is kept by having no colours; those of usage errors are clap's, which heeds it.

use std::ffi::OsString;
use std::path::PathBuf;

use corten_objects::{Settings, VARIABLES};
use corten_registry::Secret;

/// What the environment says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    /// `CORTEN_ROOT`: the directory of the local store.
    pub(crate) root: Option<PathBuf>,
    /// `CORTEN_MIRRORS`: mirrors of registries, `HOST=URL` each, with commas between them.
    pub(crate) mirrors: Option<String>,
    /// `HOME`: where `.local/share/corten`, `.config` and `.docker` are.
    pub(crate) home: Option<PathBuf>,
    /// `XDG_DATA_HOME`: where the local store of an ordinary user is.
    pub(crate) data_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`: where `containers/auth.json` may be.
    pub(crate) config_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: where `containers/auth.json` may be.
    pub(crate) runtime_dir: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`: a file of credentials that is looked into first.
    pub(crate) auth_file: Option<PathBuf>,
    /// `CONTAINERS_REGISTRIES_CONF`: the file about registries, in place of the usual one.
    pub(crate) registries_conf: Option<PathBuf>,
    /// `DOCKER_CONFIG`: the directory of Docker's `config.json`.
    pub(crate) docker_config: Option<PathBuf>,
    /// `SOURCE_DATE_EPOCH`: the latest time in what is built, in seconds since 1970.
    pub(crate) source_date_epoch: Option<String>,
    /// `EXPERIMENTAL_BUILDKIT_SOURCE_POLICY`: a file with a policy of the sources of builds.
    pub(crate) source_policy: Option<PathBuf>,
    /// `TMPDIR`: where the content of compressed archives is put while they are read.
    pub(crate) temporary: Option<PathBuf>,
    /// `http_proxy`: the proxy for registries without TLS.
    pub(crate) http_proxy: Option<String>,
    /// `https_proxy` or `HTTPS_PROXY`: the proxy for registries.
    pub(crate) https_proxy: Option<String>,
    /// `no_proxy` or `NO_PROXY`: the hosts that are reached directly.
    pub(crate) no_proxy: Option<String>,
    /// `BUILDX_METADATA_PROVENANCE`: how much of the provenance `build --metadata-file` writes.
    pub(crate) metadata_provenance: Option<String>,
    /// `BUILDX_BAKE_ENTITLEMENTS_FS`: whether `bake` asks for paths outside of the working directory to be allowed.
    pub(crate) bake_checks_paths: Option<String>,
    /// What `git` needs of the environment: `PATH`, `SSH_AUTH_SOCK` and the proxies, in small letters
    /// and capitals.
    pub(crate) for_git: Vec<(&'static str, OsString)>,
    /// What says where objects in buckets are and who asks for them: the variables of the programs of
    /// AWS, Google and Azure, and kaniko's `S3_ENDPOINT` and `S3_FORCE_PATH_STYLE`.
    pub(crate) objects: Settings,
    /// `TERM`: a terminal called `dumb` gets plain lines.
    pub(crate) term: Option<String>,
    /// What kaniko's executor heeds.
    pub(crate) kaniko: KanikoEnvironment,
}

/// The variables of kaniko's executor, which only `corten kaniko` heeds.
#[derive(Debug, Clone, Default)]
pub(crate) struct KanikoEnvironment {
    /// `KANIKO_DIR`: as `--kaniko-dir`.
    pub(crate) dir: Option<String>,
    /// `KANIKO_NO_PUSH`: in place of `--no-push`.
    pub(crate) no_push: Option<String>,
    /// `KANIKO_REGISTRY_MAP`: one more `--registry-map`.
    pub(crate) registry_map: Option<String>,
    /// `KANIKO_REGISTRY_MIRROR`: one more `--registry-mirror`.
    pub(crate) registry_mirror: Option<String>,
    /// `GIT_PULL_METHOD`: `http` or `https`, for contexts of `git://`.
    pub(crate) git_pull_method: Option<String>,
    /// `GIT_TOKEN`: who signs in for such a context, without a password.
    pub(crate) git_token: Option<Secret>,
    /// `GIT_USERNAME`: who signs in for such a context.
    pub(crate) git_username: Option<String>,
    /// `GIT_PASSWORD`: the password for it.
    pub(crate) git_password: Option<Secret>,
    /// `BUILDER_OUTPUT`: the directory for the file `images`, with what was pushed.
    pub(crate) builder_output: Option<PathBuf>,
}

const FOR_GIT: [&str; 10] = [
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "PATH",
    "SSH_AUTH_SOCK",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

impl Environment {
    /// Reads the environment. A variable that is empty counts as unset.
    pub(crate) fn read() -> Self {
        Self {
            root: path("CORTEN_ROOT"),
            mirrors: lookup("CORTEN_MIRRORS"),
            home: path("HOME"),
            data_home: path("XDG_DATA_HOME"),
            config_home: path("XDG_CONFIG_HOME"),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            auth_file: path("REGISTRY_AUTH_FILE"),
            registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
            docker_config: path("DOCKER_CONFIG"),
            source_date_epoch: lookup("SOURCE_DATE_EPOCH"),
            source_policy: path("EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"),
            bake_checks_paths: lookup("BUILDX_BAKE_ENTITLEMENTS_FS"),
            metadata_provenance: lookup("BUILDX_METADATA_PROVENANCE"),
            temporary: path("TMPDIR"),
            // In capitals a CGI's caller could set it by a header (CVE-2016-5385).
            http_proxy: lookup("http_proxy"),
            https_proxy: lookup("https_proxy").or_else(|| lookup("HTTPS_PROXY")),
            no_proxy: lookup("no_proxy").or_else(|| lookup("NO_PROXY")),
            for_git: FOR_GIT
                .iter()
                .filter_map(|name| Some((*name, value(name)?)))
                .collect(),
            objects: Settings::new(
                VARIABLES
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), lookup(name)?))),
                path("HOME").as_deref(),
            ),
            term: lookup("TERM"),
            kaniko: KanikoEnvironment::read(),
        }
    }
}

impl KanikoEnvironment {
    fn read() -> Self {
        Self {
            dir: lookup("KANIKO_DIR"),
            no_push: lookup("KANIKO_NO_PUSH"),
            registry_map: lookup("KANIKO_REGISTRY_MAP"),
            registry_mirror: lookup("KANIKO_REGISTRY_MIRROR"),
            git_pull_method: lookup("GIT_PULL_METHOD"),
            git_token: lookup("GIT_TOKEN").map(Secret::new),
            git_username: lookup("GIT_USERNAME"),
            git_password: lookup("GIT_PASSWORD").map(Secret::new),
            builder_output: path("BUILDER_OUTPUT"),
        }
    }
}

/// Returns the value of the variable that the command line names, as in `-e NAME`.
pub(crate) fn lookup(name: &str) -> Option<String> {
    value(name).and_then(|value| value.into_string().ok())
}

/// Returns the value of a variable of a bake file, which may be set to nothing.
pub(crate) fn lookup_even_empty(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}

fn path(name: &str) -> Option<PathBuf> {
    value(name).map(PathBuf::from)
}

fn value(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
