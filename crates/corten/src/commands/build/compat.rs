//! Flags that ask for what is always so, for scripts that were written for other builders.

use clap::Args;

use crate::error::CommandError;

/// Flags that change nothing; their opposites are refused.
#[derive(Debug, Args)]
pub(crate) struct CompatArgs {
    /// Put the image into the local store, as is always done
    #[arg(long, hide = true)]
    load: bool,
    /// Compress what is sent to the builder, which is nothing
    #[arg(long, hide = true)]
    compress: bool,
    /// Trust content, which is checked by digest
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_content_trust: Option<bool>,
    /// Leave nothing behind
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,
    /// Leave nothing behind after a failure
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    force_rm: Option<bool>,
    /// Keep steps for the next build
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    layers: Option<bool>,
    /// Build only stages that are needed
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    skip_unused_stages: Option<bool>,
    /// Let times in layers be no later than the timestamp
    #[arg(long, hide = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rewrite_timestamp: Option<bool>,
}

impl CompatArgs {
    /// Fails if something is to be otherwise than it always is.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let flags = [
            ("rm", self.rm, "nothing is left behind of a step"),
            (
                "layers",
                self.layers,
                "steps are always kept; `--no-cache` runs them again",
            ),
            (
                "skip-unused-stages",
                self.skip_unused_stages,
                "only what is needed is built",
            ),
            (
                "rewrite-timestamp",
                self.rewrite_timestamp,
                "a timestamp is for layers, too",
            ),
        ];
        for (flag, value, reason) in flags {
            // Not to clean up after failures is what other builders do unless they are told to.
            if value == Some(false) {
                return Err(CommandError::usage(format!(
                    "`--{flag}=false` cannot be done: {reason}"
                )));
            }
        }
        Ok(())
    }
}
