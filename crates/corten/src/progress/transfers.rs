//! Blobs on their way: a bar each on a terminal, a line each elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use corten_content::Progress;
use corten_content::progress::Outcome;
use corten_spec::{Descriptor, Digest};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{self, Output, Verbosity};

/// Shows the transfers of one copy.
#[derive(Debug)]
pub(crate) struct Transfers {
    output: Output,
    bars: Mutex<HashMap<Digest, ProgressBar>>,
}

/// A bar for less would be gone before anybody saw it.
const WORTH_A_BAR: u64 = 64 << 10;

impl Transfers {
    /// Returns a view that has nothing to show yet.
    pub(crate) fn new(output: Output) -> Self {
        Self {
            output,
            bars: Mutex::default(),
        }
    }

    /// Takes the bars away.
    pub(crate) fn finish(&self) {
        self.bars()
            .drain()
            .for_each(|(_, bar)| bar.finish_and_clear());
    }

    fn bars(&self) -> MutexGuard<'_, HashMap<Digest, ProgressBar>> {
        self.bars.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, content: &Descriptor, what: &str) {
        if self.output.verbosity < Verbosity::Normal {
            return;
        }
        let line = format!(
            "{} {what} {}",
            short(&content.digest),
            output::size(content.size)
        );
        output::tell(&line);
    }
}

impl Progress for Transfers {
    fn begin(&self, content: &Descriptor, offset: u64) {
        if !self.output.is_live || content.size < WORTH_A_BAR {
            return;
        }
        let template =
            "{prefix} {wide_bar} {decimal_bytes:>10} of {decimal_total_bytes:>10} {eta:>4}";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(content.size)
            .with_style(style)
            .with_prefix(short(&content.digest));
        bar.set_position(offset);
        let bar = output::bars().add(bar);
        self.bars().insert(content.digest.clone(), bar);
    }

    fn advance(&self, content: &Descriptor, bytes: u64) {
        if let Some(bar) = self.bars().get(&content.digest) {
            bar.inc(bytes);
        }
    }

    fn end(&self, content: &Descriptor, how: Outcome) {
        if let Some(bar) = self.bars().remove(&content.digest) {
            bar.finish_and_clear();
        }
        match how {
            Outcome::Sent => self.tell(content, "copied"),
            Outcome::Present => self.tell(content, "exists"),
            Outcome::Skipped => self.tell(content, "is not distributed:"),
        }
    }
}

/// Returns as much of a digest as tells it from others.
fn short(digest: &Digest) -> String {
    let encoded: String = digest.encoded().chars().take(12).collect();
    format!("{}:{encoded}", digest.algorithm_name())
}
