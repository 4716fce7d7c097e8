//! What a layer has that is accepted, but worth telling.

use crate::path::Shown;

/// What was noticed while layers were applied. It does not grow with the layers.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The first findings.
    pub findings: Vec<Finding>,
    /// How many there were.
    pub n_findings: u64,
}

/// One thing that was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The entry, as the layer writes it.
    pub path: Shown,
    /// What about it.
    pub what: Notice,
}

/// What can be noticed about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// `..` in the path was stopped at the root.
    ParentInPath,
    /// A path that the layer has already; the last one counts.
    Duplicate,
    /// A whiteout of something that is not below.
    WhiteoutOfNothing,
    /// A name that no layer can have, because it lies below a whiteout.
    BelowWhiteout,
    /// An extended attribute that is never applied.
    XattrDropped,
}

impl Notice {
    /// Returns what it means, for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ParentInPath => "`..` in the path was stopped at the root",
            Self::Duplicate => "the path occurs twice in one layer; the last entry counts",
            Self::WhiteoutOfNothing => "the whiteout deletes nothing",
            Self::BelowWhiteout => "the entry lies below a whiteout and was left out",
            Self::XattrDropped => "an extended attribute of overlayfs or SELinux was left out",
        }
    }
}

impl Report {
    const KEPT: usize = 100;

    pub(crate) fn add(&mut self, path: &[u8], what: Notice) {
        self.n_findings += 1;
        if self.findings.len() < Self::KEPT {
            self.findings.push(Finding {
                path: path.into(),
                what,
            });
        }
    }
}
