//! The commands, one a file.

pub(crate) mod bake;
pub(crate) mod blob;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod cat;
pub(crate) mod catalog;
pub(crate) mod completion;
pub(crate) mod convert;
pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod df;
pub(crate) mod doctor;
pub(crate) mod export;
pub(crate) mod flatten;
pub(crate) mod fsck;
pub(crate) mod gc;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod inspect;
pub(crate) mod kaniko;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod ls;
pub(crate) mod manifest;
pub(crate) mod mount;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod referrers;
pub(crate) mod repack;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod squash;
pub(crate) mod tag;
pub(crate) mod tags;
pub(crate) mod umount;
pub(crate) mod unpack;
pub(crate) mod validate;
pub(crate) mod version;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Command;
use crate::context::Context;
use crate::error::CommandError;
use crate::namespace::Ids;

/// Returns the ids of a user namespace that `command` needs to be root of: it makes or removes files of
/// other users. `None` if it needs none.
pub(crate) fn ids(command: &Command, ctx: &Context) -> Option<Ids> {
    let many_if = |is_needed: bool| is_needed.then_some(Ids::Many);
    match command {
        Command::Build(args) => build::ids(args, ctx),
        Command::Bake(args) => bake::needs_root(args).then_some(Ids::Any),
        Command::Kaniko(_) => kaniko::needs_root().then_some(Ids::Any),
        Command::Run(_) => Some(Ids::Many),
        Command::Unpack(args) => many_if(unpack::needs_root(args)),
        Command::Repack(args) => many_if(repack::needs_root(args)),
        // Only there are files of other users in the store, or files of a namespace that its own user
        // cannot read.
        Command::Gc(_) | Command::Fsck(_) | Command::Df(_) => {
            let is_there = |directory: &str| ctx.root().join(directory).is_dir();
            (is_there("layers/dir") || is_there("run-caches")).then_some(Ids::Any)
        }
        Command::Cache(args) => cache::needs_root(args, ctx).then_some(Ids::Any),
        Command::Pull(_)
        | Command::Push(_)
        | Command::Copy(_)
        | Command::Convert(_)
        | Command::Save(_)
        | Command::Load(_)
        | Command::Import(_)
        | Command::Images(_)
        | Command::Tag(_)
        | Command::Rm(_)
        | Command::Inspect(_)
        | Command::Ls(_)
        | Command::Cat(_)
        | Command::Export(_)
        | Command::Flatten(_)
        | Command::Squash(_)
        | Command::Validate(_)
        | Command::Tags(_)
        | Command::Catalog(_)
        | Command::Referrers(_)
        | Command::Manifest(_)
        | Command::Blob(_)
        | Command::Delete(_)
        | Command::Login(_)
        | Command::Logout(_)
        | Command::Mount(_)
        | Command::Umount(_)
        | Command::Doctor(_)
        | Command::Completion(_)
        | Command::Version(_) => None,
    }
}

/// Returns what is to be said of a flag that another tool has, and `build` has not, on purpose.
pub(crate) fn explain_usage(error: &clap::Error) -> Option<CommandError> {
    let is_build = std::env::args_os().skip(1).any(|arg| arg == "build");
    if error.kind() != ErrorKind::UnknownArgument || !is_build {
        return None;
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let flag = given.split('=').next().unwrap_or_default();
    let (reason, instead) = build::refused::explain(flag)?;
    Some(CommandError::usage(format!("`{flag}` is not done: {reason}")).hint(instead))
}

/// Does what `command` says.
pub(crate) fn run(command: &Command, ctx: &Context) -> Result<ExitCode, CommandError> {
    match command {
        Command::Build(args) => build::run(args, ctx),
        Command::Bake(args) => bake::run(args, ctx),
        Command::Kaniko(args) => kaniko::run(args, ctx),
        Command::Run(args) => run::run(args, ctx),
        Command::Pull(args) => pull::run(args, ctx),
        Command::Push(args) => push::run(args, ctx),
        Command::Copy(args) => copy::run(args, ctx),
        Command::Convert(args) => convert::run(args, ctx),
        Command::Save(args) => save::run(args, ctx),
        Command::Load(args) => load::run(args, ctx),
        Command::Import(args) => import::run(args, ctx),
        Command::Images(args) => images::run(args, ctx),
        Command::Tag(args) => tag::run(args, ctx),
        Command::Rm(args) => rm::run(args, ctx),
        Command::Cache(args) => cache::run(args, ctx),
        Command::Gc(args) => gc::run(args, ctx),
        Command::Fsck(args) => fsck::run(args, ctx),
        Command::Df(args) => df::run(args, ctx),
        Command::Inspect(args) => inspect::run(args, ctx),
        Command::Ls(args) => ls::run(args, ctx),
        Command::Cat(args) => cat::run(args, ctx),
        Command::Export(args) => export::run(args, ctx),
        Command::Flatten(args) => flatten::run(args, ctx),
        Command::Squash(args) => squash::run(args, ctx),
        Command::Validate(args) => validate::run(args, ctx),
        Command::Tags(args) => tags::run(args, ctx),
        Command::Catalog(args) => catalog::run(args, ctx),
        Command::Referrers(args) => referrers::run(args, ctx),
        Command::Manifest(args) => manifest::run(args, ctx),
        Command::Blob(args) => blob::run(args, ctx),
        Command::Delete(args) => delete::run(args, ctx),
        Command::Unpack(args) => unpack::run(args, ctx),
        Command::Repack(args) => repack::run(args, ctx),
        Command::Login(args) => login::run(args, ctx),
        Command::Logout(args) => logout::run(args, ctx),
        Command::Mount(args) => mount::run(args, ctx),
        Command::Umount(args) => umount::run(args, ctx),
        Command::Doctor(args) => doctor::run(args, ctx),
        Command::Completion(args) => completion::run(args, ctx),
        Command::Version(args) => version::run(args, ctx),
    }
}
