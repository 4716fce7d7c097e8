//! What was found, and where.

use std::fmt;

use corten_layer::Shown;
use corten_spec::Digest;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// The specification forbids it, or the image cannot be used.
    Must,
    /// The specification advises against it, or some tools will stumble.
    Should,
    /// It is allowed, but worth knowing.
    Note,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "must",
            Self::Should => "should",
            Self::Note => "note",
        })
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The requirement, such as `CFG-02`; see [`requirement`](super::requirement).
    pub requirement: &'static str,
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What should be there, where that can be said.
    pub expected: Option<String>,
    /// What is there instead, where there is anything.
    pub received: Option<String>,
    /// What to do about it.
    pub advice: Option<&'static str>,
    /// How many more of the same requirement and level there were; they are not listed. Only the
    /// last one that is listed has it.
    pub n_more: u64,
}

/// Where a finding is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The content; `None` for the files of a layout.
    pub digest: Option<Digest>,
    /// Where in it.
    pub within: Within,
}

/// Where in content a finding is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Within {
    /// In the whole of it.
    Whole,
    /// At this JSON pointer (RFC 6901).
    Pointer(String),
    /// In an entry of a layer.
    Entry {
        /// The path, as the layer writes it.
        path: Shown,
        /// Where the entry's headers begin, in bytes of the uncompressed layer.
        offset: u64,
    },
    /// At this byte of the uncompressed layer.
    Byte(u64),
    /// In a file of a layout.
    File {
        /// The path, relative to the layout.
        path: String,
        /// A JSON pointer in it; empty for the whole of it.
        pointer: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(digest) = &self.digest {
            write!(f, "{digest}")?;
        }
        match &self.within {
            Within::Whole => Ok(()),
            Within::Pointer(pointer) => write!(f, "#{pointer}"),
            Within::Entry { path, offset } => write!(f, " `{path}` at byte {offset}"),
            Within::Byte(offset) => write!(f, " at byte {offset}"),
            Within::File { path, pointer } if pointer.is_empty() => f.write_str(path),
            Within::File { path, pointer } => write!(f, "{path}#{pointer}"),
        }
    }
}

/// What is wrong, for a [`Finding`].
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) expected: Option<String>,
    pub(super) received: Option<String>,
}

impl Fault {
    /// Something else is there than `expected`.
    pub(super) fn differs(received: impl Into<String>, expected: impl Into<String>) -> Self {
        let (received, expected) = (received.into(), expected.into());
        Self {
            message: format!("it is {received}, expected {expected}"),
            expected: Some(expected),
            received: Some(received),
        }
    }

    /// Nothing is there.
    pub(super) fn missing(expected: impl Into<String>) -> Self {
        Self {
            message: "it is not there".to_owned(),
            expected: Some(expected.into()),
            received: None,
        }
    }

    /// Replaces what people read.
    pub(super) fn saying(self, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..self
        }
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self {
            message,
            expected: None,
            received: None,
        }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}
