//! Checking everything in the store again, and putting right what can be put right.
//!
//! A [`Survey`] is what is there: every blob with what its bytes hash to, the names, the documents
//! that these lead to. What is wrong is computed from it alone, by [`Survey::findings`]. Repairing
//! is two more steps: [`refetch`] takes good bytes from another place, and
//! [`GcGuard::repair`](crate::GcGuard::repair) moves the rest out of everybody's way.

mod judge;
mod refetch;
mod repair;
pub(crate) mod survey;

use std::path::PathBuf;

use corten_spec::{Descriptor, Digest, Platform};

pub use refetch::{Doubting, refetch};
pub use repair::{Recovered, Repaired};
pub use survey::{BlobState, Ingest, Survey};

/// Something about the store that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// `oci-layout` or `index.json` cannot be used.
    File {
        /// Which of them.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A blob is not there, or is not what it should be.
    Blob(LostBlob),
    /// An intact document says what is not so: it was stored like that.
    Document {
        /// The document.
        content: Digest,
        /// What is wrong with it.
        reason: String,
        /// What leads to it.
        needed_by: Vec<Need>,
    },
    /// An entry of `index.json` names a blob by a wrong size.
    EntrySize {
        /// What the entry is called.
        name: Option<String>,
        /// What it names.
        content: Digest,
        /// The size that it says, in bytes.
        listed: u64,
        /// The size of the blob, in bytes.
        size: u64,
    },
    /// A manifest that an index lists is not here, which an index may do (image-index.md).
    Absent {
        /// The manifest.
        content: Descriptor,
        /// What leads to it.
        needed_by: Vec<Need>,
    },
    /// A blob's digest cannot be computed, since its algorithm is not known.
    Unverifiable {
        /// The blob.
        content: Digest,
    },
    /// A write that was left unfinished; the next pull of the same content goes on with it, and
    /// `gc` removes it.
    Leftover(Ingest),
    /// A file that does not belong here. It is left alone.
    Stray {
        /// Where it is.
        path: PathBuf,
    },
}

/// A blob that is not there, or is not what it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct LostBlob {
    /// The blob, as what refers to it describes it.
    pub content: Descriptor,
    /// What is wrong.
    pub damage: Damage,
    /// The images that need it; empty if nothing does.
    pub needed_by: Vec<Need>,
    /// Whether a build record needs it. That record is no hit any more, and nothing is lost.
    pub is_recorded: bool,
}

/// What is wrong with a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// It is not there.
    Missing,
    /// Its bytes hash to something else.
    WrongBytes {
        /// To what.
        received: Digest,
        /// How many there are.
        size: u64,
    },
    /// It cannot be read.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// An image that needs a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What the image is called; `None` for what is kept without a name.
    pub name: Option<String>,
    /// What the name stands for.
    pub root: Digest,
    /// The platform of the image, where that is known.
    pub platform: Option<Platform>,
}

impl Finding {
    /// Tells whether content is lost or damaged, as opposed to what may be so or what `gc` takes.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::File { .. } | Self::Blob(_) | Self::Document { .. } | Self::EntrySize { .. } => {
                true
            }
            Self::Absent { .. }
            | Self::Unverifiable { .. }
            | Self::Leftover(_)
            | Self::Stray { .. } => false,
        }
    }
}
