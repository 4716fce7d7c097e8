//! The grammar of the command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    bake, blob, build, cache, cat, catalog, completion, convert, copy, delete, df, doctor, export,
    flatten, fsck, gc, images, import, inspect, kaniko, load, login, logout, ls, manifest, mount,
    pull, push, referrers, repack, rm, run, save, squash, tag, tags, umount, unpack, validate,
    version,
};
use crate::limits::Limit;

/// Build, move, explain and run container images
#[derive(Debug, Parser)]
#[command(name = "corten", version, max_term_width = 100)]
#[command(after_help = PLACES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const PLACES: &str = "\
Places:
  NAME                         an image in the local store
  docker://NAME                an image in a registry
  oci:DIR[:TAG|@DIGEST]        an image layout
  oci-archive:FILE[:TAG]       an image layout in a tar
  docker-archive:FILE[:NAME]   what `docker save` writes
Where only a NAME may stand, what begins like another place is refused; an image of such a name is \
written in full, as in `docker.io/library/oci:out`.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 content did not verify; `run` hands on that of the \
program it ran.";

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Keep images in this directory [default: `$CORTEN_ROOT`, else /var/lib/corten for root, else
    /// `$XDG_DATA_HOME/corten`]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    // `run -v` is a volume, as everywhere, so the short form stands before the verb.
    /// Tell more; the short form stands before the command
    #[arg(short = 'v')]
    pub(crate) v: bool,
    /// Tell more
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub(crate) verbose: bool,
    /// Print the one line that matters
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Change what a layer, an archive or a document may ask for while it is read, such as
    /// `entries=10000000`, `total_bytes=128GiB` or `manifest_bytes=8MiB`; an error that a limit caused
    /// names it
    #[arg(long = "limit", global = true, value_name = "NAME=VALUE")]
    pub(crate) limits: Vec<Limit>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Build(Box<build::BuildArgs>),
    Bake(bake::BakeArgs),
    Kaniko(kaniko::KanikoArgs),
    Run(Box<run::RunArgs>),
    Pull(pull::PullArgs),
    Push(push::PushArgs),
    Copy(copy::CopyArgs),
    Convert(convert::ConvertArgs),
    Save(save::SaveArgs),
    Load(load::LoadArgs),
    Import(import::ImportArgs),
    Images(images::ImagesArgs),
    Tag(tag::TagArgs),
    Rm(rm::RmArgs),
    Gc(gc::GcArgs),
    Fsck(fsck::FsckArgs),
    Df(df::DfArgs),
    Cache(cache::CacheArgs),
    Inspect(inspect::InspectArgs),
    Ls(ls::LsArgs),
    Cat(cat::CatArgs),
    Export(export::ExportArgs),
    Flatten(flatten::FlattenArgs),
    Squash(squash::SquashArgs),
    Validate(validate::ValidateArgs),
    Tags(tags::TagsArgs),
    Catalog(catalog::CatalogArgs),
    Referrers(referrers::ReferrersArgs),
    Manifest(manifest::ManifestArgs),
    Blob(blob::BlobArgs),
    Delete(delete::DeleteArgs),
    Unpack(unpack::UnpackArgs),
    Repack(repack::RepackArgs),
    Mount(mount::MountArgs),
    Umount(umount::UmountArgs),
    Login(login::LoginArgs),
    Logout(logout::LogoutArgs),
    Doctor(doctor::DoctorArgs),
    Completion(completion::CompletionArgs),
    Version(version::VersionArgs),
}

/// Returns the arguments of the program, which is `corten kaniko` where it is called `executor`.
pub(crate) fn arguments() -> Vec<OsString> {
    as_kaniko(std::env::args_os().collect())
}

fn as_kaniko(mut args: Vec<OsString>) -> Vec<OsString> {
    let name = args.first().map(Path::new).and_then(Path::file_name);
    let is_version = args.get(1).is_some_and(|arg| arg == "version");
    if name == Some("executor".as_ref()) && !is_version {
        args.insert(1, "kaniko".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_executor_is_a_name_of_the_program() {
        #[track_caller]
        fn check(given: &str, expected: &str) {
            let args = as_kaniko(given.split(' ').map(OsString::from).collect());
            assert_eq!(args.join(" ".as_ref()), expected);
        }
        check(
            "/kaniko/executor -v info",
            "/kaniko/executor kaniko -v info",
        );
        check("executor", "executor kaniko");
        check("executor version", "executor version");
        check("/kaniko/corten build .", "/kaniko/corten build .");
    }
}
