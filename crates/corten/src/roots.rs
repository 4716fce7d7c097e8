//! Kinds of roots: what users write for them, and saying which one was used.

use std::error::Error as _;

use clap::ValueEnum;
use corten_snapshot::{Error, RootKind};

use crate::context::Context;

/// Which kind of root is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Kind {
    /// The first of those below that works
    #[default]
    Auto,
    /// An EROFS index over the layers' tars: nothing is unpacked (root, Linux 6.12)
    Erofs,
    /// A directory for each layer, stacked by overlayfs
    Overlay,
    /// All files in one directory, written for this mount alone
    Plain,
}

impl Kind {
    /// Returns the kinds that may be used, the best first.
    pub(crate) fn allowed(self) -> &'static [RootKind] {
        match self {
            Self::Auto => &RootKind::ALL,
            Self::Erofs => &[RootKind::Erofs],
            Self::Overlay => &[RootKind::Overlay],
            Self::Plain => &[RootKind::Plain],
        }
    }
}

/// Says which kind is used, and why not a better one.
pub(crate) fn tell(ctx: &Context, kind: RootKind, passed_over: &[Error]) {
    for error in passed_over {
        ctx.output.detail(&explained(error));
    }
    ctx.output.detail(&format!("root: {kind}"));
}

/// Returns an error with its causes, on one line.
pub(crate) fn explained(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
