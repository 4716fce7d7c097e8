//! Corten: builds, moves, explains and runs container images.
//!
//! A command parses its arguments, calls the libraries and prints. Everything that comes from the
//! environment is read in [`mod@env`], everything that is printed goes through [`output`] and
//! [`progress`].
//!
//! There is no handler for Ctrl-C but that of `build`, which takes away what commands leave: the
//! system's own ends the program at once, and whatever was going on is safe at every instant, since
//! nothing has its name before it is whole.
//! Ctrl-C ends the program at once, and whatever was going on is safe at every instant, since nothing
//! has its name before it is whole. [`signals`] only removes what has no name yet.

mod bases;
mod build_context;
mod cache_places;
mod cli;
mod commands;
mod compression;
mod context;
mod conversion;
mod dockerfile;
mod env;
mod error;
mod images;
mod lazy;
mod limits;
mod namespace;
mod output;
mod outputs;
mod places;
mod progress;
mod registry;
mod remotes;
mod rewrite;
mod rootfs;
mod roots;
mod scratch;
mod selection;
mod signals;
mod timestamp;
mod transfer;
mod tree;
mod wanted;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::context::Context;
use crate::env::Environment;
use crate::error::CommandError;

fn main() -> ExitCode {
    // A sandbox starts this program again as its stage, before there is a thread or an open file.
    corten_sandbox::init_if_child();
    let cli = match Cli::try_parse_from(cli::arguments()) {
        Ok(cli) => cli,
        Err(error) => return show_usage(&error),
    };
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            if error.is_broken_pipe() && output::is_unread() {
                signals::end_by_pipe();
            }
            output::error(&error.to_string());
            error.exit_code()
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, CommandError> {
    let ctx = Context::new(&cli.global, Environment::read())?;
    if let Some(ids) = commands::ids(&cli.command, &ctx)
        && let Some(code) = namespace::enter(ids, &ctx)?
    {
        return Ok(code);
    }
    if !matches!(cli.command, Command::Run(_)) {
        signals::watch();
    }
    let done = commands::run(&cli.command, &ctx);
    signals::wait_if_ending();
    done
}

/// Prints help where it was asked for, and what is wrong with the arguments elsewhere.
fn show_usage(error: &clap::Error) -> ExitCode {
    if let Some(error) = commands::explain_usage(error) {
        output::error(&error.to_string());
        return error.exit_code();
    }
    // Nobody is left to be told if it cannot be printed.
    if error.print().is_err() && output::is_unread() {
        signals::end_by_pipe();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
