//! What of a build has to do with its cache.

use clap::Args;

/// What of a build has to do with its cache.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Cache options")]
pub(crate) struct CachingArgs {
    /// Run every step, also those whose result is known
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Tell for each step that was not in the cache which of its inputs changed
    #[arg(long)]
    pub(crate) explain: bool,
}
