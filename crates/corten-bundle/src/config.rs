//! From an image config to a runtime `config.json` (conversion.md of the image specification).

use corten_layer::users::User;
use corten_sandbox::DEFAULT_CAPABILITIES;
use corten_spec::ImageConfig;

use crate::annotate::annotations;
use crate::process::{self, Overrides, Terminal};
use crate::spec::{
    Capabilities, IdMapping, Mount, OCI_VERSION, Process, ProcessUser, Root, RuntimeConfig,
};
use crate::{Error, IdMaps, Result, defaults};

/// What the caller decides about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOptions {
    /// What counts instead of the image's own values.
    pub overrides: Overrides,
    /// Whose ids the container has.
    pub ids: Ids,
    /// Which network it has.
    pub network: Network,
    /// What becomes of the image's volumes.
    pub volumes: Volumes,
    /// Whether its root can be written to.
    pub root: RootAccess,
    /// Whether its process has a terminal, which the runtime must then be told how to hand over.
    pub terminal: Terminal,
    /// What set-user-ID programs can do.
    pub privileges: Privileges,
    /// The host name that it sees.
    pub hostname: String,
    /// Mounts beside those of every container and the image's volumes; they come last.
    pub mounts: Vec<Mount>,
}

impl Default for ConfigOptions {
    /// Returns what fits a runtime that root starts: a network of its own, as `runc spec` has it.
    fn default() -> Self {
        Self {
            overrides: Overrides::default(),
            ids: Ids::Host,
            network: Network::Private,
            volumes: Volumes::Tmpfs,
            root: RootAccess::Write,
            terminal: Terminal::No,
            privileges: Privileges::Fixed,
            hostname: "corten".to_owned(),
            mounts: Vec::new(),
        }
    }
}

impl ConfigOptions {
    /// Returns what fits a runtime that the user `uid` of the group `gid` starts without any
    /// privilege: root inside is that user outside, and the network is the host's, as in
    /// `runc spec --rootless`.
    pub fn rootless(uid: u32, gid: u32) -> Self {
        Self {
            ids: IdMaps::single(uid, gid).into(),
            network: Network::Host,
            ..Self::default()
        }
    }
}

/// Whose ids a container has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// Those of the host.
    Host,
    /// Those of a user namespace. The container then has no cgroup of its own.
    Mapped {
        /// User ids.
        uids: Vec<IdMapping>,
        /// Group ids.
        gids: Vec<IdMapping>,
    },
}

impl From<IdMaps> for Ids {
    fn from(maps: IdMaps) -> Self {
        if maps.is_identity() {
            return Self::Host;
        }
        let IdMaps { uids, gids } = maps;
        Self::Mapped { uids, gids }
    }
}

impl Ids {
    /// Returns them as maps.
    pub fn maps(&self) -> IdMaps {
        match self {
            Self::Host => IdMaps::default(),
            Self::Mapped { uids, gids } => IdMaps {
                uids: uids.clone(),
                gids: gids.clone(),
            },
        }
    }
}

/// Which network a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The host's.
    Host,
    /// Its own, in which there is only what the runtime's hooks put there.
    Private,
}

/// What becomes of the volumes that an image declares (CNV-29).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volumes {
    /// Nothing: what is written there is written to the root.
    Ignore,
    /// Each is an empty file system in memory, so that data does not get into the root. It hides what
    /// the image has there (CNV-30), and is gone when the container ends.
    Tmpfs,
}

/// Whether the root can be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootAccess {
    /// It can.
    Write,
    /// Only mounts can.
    ReadOnly,
}

/// What set-user-ID programs and file capabilities can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privileges {
    /// Nothing, as `runc spec` and umoci have it: `su` and `sudo` fail.
    Fixed,
    /// What they do elsewhere.
    Gainable,
}

/// A `config.json`, and what should be told about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// What the runtime reads.
    pub config: RuntimeConfig,
    /// What of the image could not be had.
    pub notes: Vec<Note>,
}

/// Something of an image that its container does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A label without a key, which no annotation can be.
    EmptyLabel,
    /// Groups of the user that have no mapping.
    GroupsDropped(Vec<u32>),
    /// A variable without a value, which some runtimes refuse.
    BareVariable(String),
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EmptyLabel => f.write_str("a label of the image has no key and was left out"),
            Self::GroupsDropped(gids) => write!(
                f,
                "the groups {gids:?} of the user were left out: a user without privileges cannot set them"
            ),
            Self::BareVariable(entry) => write!(
                f,
                "the image's variable `{entry}` has no `=`, and runc refuses to start with it"
            ),
        }
    }
}

/// Returns the runtime config of a container of `image` that runs as `user`, who is
/// [`resolve_user`](corten_layer::users::resolve_user)d from the image's own tables.
///
/// What the image says comes through verbatim, where `options` do not say otherwise; what neither
/// says is as in `runc spec`. No system-call filter is written: runtimes' own defaults differ, and a
/// profile belongs to whoever runs the bundle.
///
/// # Errors
/// Fails if the image is not for Linux, names no command, declares a volume that cannot be mounted, or
/// is to run with an id that has no mapping.
pub fn runtime_config(
    image: &ImageConfig,
    user: &User,
    options: &ConfigOptions,
) -> Result<Converted> {
    check_os(image)?;
    let overrides = &options.overrides;
    let (annotations, mut notes) = annotations(image);
    let env = process::env(&image.config, overrides, user, options.terminal);
    let bare = env.iter().filter(|entry| !entry.contains('='));
    notes.extend(bare.cloned().map(Note::BareVariable));
    let mut mounts = defaults::mounts(&options.ids, options.network);
    mounts.extend(volume_mounts(image, options.volumes)?);
    mounts.extend(options.mounts.iter().cloned());
    let config = RuntimeConfig {
        oci_version: OCI_VERSION,
        process: Process {
            terminal: options.terminal == Terminal::Yes,
            user: process_user(user, &options.ids, &mut notes)?,
            args: process::args(&image.config, overrides)?,
            env,
            cwd: process::cwd(&image.config, overrides),
            capabilities: capabilities(),
            no_new_privileges: options.privileges == Privileges::Fixed,
        },
        root: Root {
            path: ROOTFS.to_owned(),
            readonly: options.root == RootAccess::ReadOnly,
        },
        hostname: options.hostname.clone(),
        mounts,
        annotations,
        linux: defaults::linux(&options.ids, options.network),
    };
    Ok(Converted { config, notes })
}

/// The directory of the root in a bundle.
pub(crate) const ROOTFS: &str = "rootfs";

/// Refuses images that no Linux can run.
pub(crate) fn check_os(image: &ImageConfig) -> Result<()> {
    if image.os == "linux" {
        return Ok(());
    }
    Err(Error::UnsupportedOs {
        os: image.os.clone(),
    })
}

fn capabilities() -> Capabilities {
    let names = DEFAULT_CAPABILITIES.map(str::to_owned).to_vec();
    Capabilities {
        bounding: names.clone(),
        effective: names.clone(),
        permitted: names,
    }
}

fn process_user(user: &User, ids: &Ids, notes: &mut Vec<Note>) -> Result<ProcessUser> {
    let mut additional_gids = user.additional_gids.clone();
    if let Ids::Mapped { uids, gids } = ids {
        check_mapped(uids, "user id", user.uid)?;
        check_mapped(gids, "group id", user.gid)?;
        // With a single id, which needs no privilege to map, setgroups(2) is forbidden.
        if !additional_gids.is_empty() {
            let n_ids: u64 = gids.iter().map(|range| u64::from(range.size)).sum();
            let is_single = n_ids <= 1;
            let all = std::mem::take(&mut additional_gids);
            let (kept, dropped): (Vec<u32>, Vec<u32>) = all
                .into_iter()
                .partition(|&gid| !is_single && is_mapped(gids, gid));
            additional_gids = kept;
            if !dropped.is_empty() {
                notes.push(Note::GroupsDropped(dropped));
            }
        }
    }
    Ok(ProcessUser {
        uid: user.uid,
        gid: user.gid,
        additional_gids,
    })
}

fn check_mapped(ranges: &[IdMapping], kind: &'static str, id: u32) -> Result<()> {
    if is_mapped(ranges, id) {
        Ok(())
    } else {
        Err(Error::Unmapped { kind, id })
    }
}

fn is_mapped(ranges: &[IdMapping], id: u32) -> bool {
    ranges.iter().any(|range| {
        id.checked_sub(range.container_id)
            .is_some_and(|inside| inside < range.size)
    })
}

/// Returns a mount for each volume, parents before what is in them: the set is sorted.
fn volume_mounts(image: &ImageConfig, volumes: Volumes) -> Result<Vec<Mount>> {
    if volumes == Volumes::Ignore {
        return Ok(Vec::new());
    }
    let paths = image.config.volumes.0.iter();
    paths
        .map(|path| {
            check_volume(path)?;
            Ok(defaults::mount(
                path,
                "tmpfs",
                "tmpfs",
                &["rw", "nosuid", "nodev"],
            ))
        })
        .collect()
}

/// Refuses a volume that would hide the whole root, or whose place is not clear.
pub(crate) fn check_volume(path: &str) -> Result<()> {
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | "."));
    let reason = if !path.starts_with('/') {
        "it is not absolute"
    } else if path.split('/').any(|name| name == "..") {
        "it has `..` in it"
    } else if names.next().is_none() {
        "it would hide the whole root"
    } else {
        return Ok(());
    };
    Err(Error::InvalidVolume {
        path: path.to_owned(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_spec::{Platform, RunConfig};

    fn image() -> ImageConfig {
        ImageConfig {
            config: RunConfig {
                cmd: Some(vec!["/bin/sh".into()]),
                ..RunConfig::default()
            },
            ..ImageConfig::scratch(&Platform::new("linux", "amd64"))
        }
    }

    fn user(uid: u32, gid: u32, additional_gids: &[u32]) -> User {
        User {
            uid,
            gid,
            additional_gids: additional_gids.to_vec(),
            ..User::default()
        }
    }

    #[test]
    fn the_whole_config_of_a_small_image() {
        let found = runtime_config(&image(), &User::default(), &ConfigOptions::default()).unwrap();
        assert_eq!(found.notes, []);
        let json = serde_json::to_string_pretty(&found.config).unwrap();
        assert_eq!(json, include_str!("config/small.json").trim_end());
    }

    #[test]
    fn the_whole_config_without_privileges() {
        let options = ConfigOptions::rootless(1000, 100);
        let found = runtime_config(&image(), &user(0, 0, &[1]), &options).unwrap();
        assert_eq!(found.notes, [Note::GroupsDropped(vec![1])]);
        let json = serde_json::to_string_pretty(&found.config).unwrap();
        assert_eq!(json, include_str!("config/rootless.json").trim_end());
    }

    #[test]
    fn only_linux_runs() {
        #[track_caller]
        fn check(os: &str) {
            let image = ImageConfig {
                os: os.into(),
                ..image()
            };
            let error = runtime_config(&image, &User::default(), &ConfigOptions::default());
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains(&format!("the image is for `{os}`")),
                "{error}"
            );
        }
        check("windows");
        check("freebsd");
        check("");
    }

    #[test]
    fn ids_need_a_mapping() {
        #[track_caller]
        fn check(given: &User, sizes: (u32, u32), expected: std::result::Result<&[u32], &str>) {
            let range = |size| IdMapping {
                container_id: 0,
                host_id: 100_000,
                size,
            };
            let ids = Ids::Mapped {
                uids: vec![range(sizes.0)],
                gids: vec![range(sizes.1)],
            };
            let found = process_user(given, &ids, &mut Vec::new()).map_err(|e| e.to_string());
            match expected {
                Ok(gids) => assert_eq!(found.unwrap().additional_gids, gids, "{given:?}"),
                Err(part) => assert!(found.clone().unwrap_err().contains(part), "{found:?}"),
            }
        }
        check(&user(0, 0, &[]), (1, 1), Ok(&[]));
        check(&user(0, 0, &[0]), (1, 1), Ok(&[]));
        check(&user(7, 0, &[]), (1, 1), Err("user id 7"));
        check(&user(0, 7, &[]), (1, 1), Err("group id 7"));
        check(&user(7, 7, &[5, 70_000, 6]), (65536, 65536), Ok(&[5, 6]));
        let host = process_user(&user(7, 7, &[70_000]), &Ids::Host, &mut Vec::new()).unwrap();
        assert_eq!(host.additional_gids, [70_000]);
    }

    #[test]
    fn volumes() {
        #[track_caller]
        fn check(paths: &[&str], volumes: Volumes, expected: std::result::Result<&[&str], &str>) {
            let mut image = image();
            image.config.volumes.0 = paths.iter().map(|&path| path.to_owned()).collect();
            let found = volume_mounts(&image, volumes).map_err(|error| error.to_string());
            match expected {
                Ok(expected) => {
                    let mounts = found.unwrap();
                    let found: Vec<&str> = mounts.iter().map(|m| m.destination.as_str()).collect();
                    assert_eq!(found, expected, "{paths:?}");
                    assert!(
                        mounts
                            .iter()
                            .all(|m| m.options == ["rw", "nosuid", "nodev"])
                    );
                }
                Err(part) => assert!(found.clone().unwrap_err().contains(part), "{found:?}"),
            }
        }
        check(
            &["/data/a", "/data", "/b/"],
            Volumes::Tmpfs,
            Ok(&["/b/", "/data", "/data/a"]),
        );
        check(&["/data"], Volumes::Ignore, Ok(&[]));
        check(&["data"], Volumes::Tmpfs, Err("not absolute"));
        check(&["/"], Volumes::Tmpfs, Err("hide the whole root"));
        check(&["//."], Volumes::Tmpfs, Err("hide the whole root"));
        check(&["/a/../.."], Volumes::Tmpfs, Err("has `..` in it"));
    }

    #[test]
    fn options_show() {
        let options = ConfigOptions {
            root: RootAccess::ReadOnly,
            terminal: Terminal::Yes,
            privileges: Privileges::Gainable,
            network: Network::Host,
            hostname: "box".into(),
            mounts: vec![defaults::mount("/x", "bind", "/y", &["rbind"])],
            ..ConfigOptions::default()
        };
        let mut image = image();
        image.config.env = vec!["BARE".into()];
        let found = runtime_config(&image, &User::default(), &options).unwrap();
        let config = found.config;
        assert!(config.root.readonly && config.process.terminal);
        assert!(!config.process.no_new_privileges);
        assert!(!config.linux.namespaces.iter().any(|n| n.kind == "network"));
        assert_eq!(config.hostname, "box");
        assert_eq!(config.mounts.last().unwrap().destination, "/x");
        assert_eq!(found.notes, [Note::BareVariable("BARE".into())]);
    }
}
