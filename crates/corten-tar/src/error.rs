//! What can go wrong with an archive or a compressed stream.

use std::io;

use crate::compression::Encoding;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an archive could not be read or written.
///
/// Offsets are bytes from the start of the uncompressed stream.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader beneath the archive failed.
    #[error("cannot read the archive at byte {offset}")]
    Read {
        /// Where the reader stood.
        offset: u64,
        /// What it said.
        source: io::Error,
    },

    /// The writer beneath the archive failed.
    #[error("cannot write the archive at byte {offset}")]
    Write {
        /// Where the writer stood.
        offset: u64,
        /// What it said.
        source: io::Error,
    },

    /// The content given for an entry could not be read.
    #[error("cannot read the content of `{}`", path.escape_ascii())]
    Content {
        /// The entry.
        path: Vec<u8>,
        /// What the content's reader said.
        source: io::Error,
    },

    /// The stream ended inside a header or a body.
    #[error("the archive ends at byte {offset}, inside an entry")]
    Truncated {
        /// The length of what there was.
        offset: u64,
    },

    /// A header, extended header or sparse map breaks its format.
    #[error("the {part} at byte {offset} is malformed: {problem}")]
    Malformed {
        /// Where the header of the entry begins.
        offset: u64,
        /// Which of its parts.
        part: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// An entry has a type that no file system object answers to.
    #[error("`{}` at byte {offset} has the unknown type `{}`", path.escape_ascii(), flag.escape_ascii())]
    UnknownType {
        /// Where the header begins.
        offset: u64,
        /// The entry.
        path: Vec<u8>,
        /// Its typeflag.
        flag: u8,
    },

    /// A number is one that the kernel would truncate or misread.
    #[error("`{}` has the {field} {value}, which is out of range", path.escape_ascii())]
    OutOfRange {
        /// The entry.
        path: Vec<u8>,
        /// Which number.
        field: &'static str,
        /// Its value.
        value: i128,
    },

    /// The stream is larger than the caller allows.
    #[error("the limit `{limit}` of {maximum} is exceeded")]
    Limit {
        /// The field of [`Limits`](crate::Limits) or [`DecodeLimits`](crate::DecodeLimits).
        limit: &'static str,
        /// Its value.
        maximum: u64,
    },

    /// The entry cannot be written without meaning something else to some reader.
    #[error("`{}` cannot be written to an archive: {problem}", path.escape_ascii())]
    Unrepresentable {
        /// The entry.
        path: Vec<u8>,
        /// Why not.
        problem: &'static str,
    },

    /// The content given for an entry is longer or shorter than its size.
    #[error("`{}` has {received} bytes of content, expected {expected}", path.escape_ascii())]
    Length {
        /// The entry.
        path: Vec<u8>,
        /// Its size.
        expected: u64,
        /// How much there was; one more than `expected` if there was any more.
        received: u64,
    },

    /// A compressed stream breaks its format.
    #[error("the {encoding} stream is damaged: {problem}")]
    Damaged {
        /// The format.
        encoding: Encoding,
        /// What is wrong with it.
        problem: &'static str,
        /// What the decompressor said, if it was a library's.
        source: Option<io::Error>,
    },

    /// A compressor could not be started.
    #[error("cannot start {encoding} compression at level {level}")]
    Compressor {
        /// The format.
        encoding: Encoding,
        /// The level asked for.
        level: i32,
        /// Why not, if the level is one that exists.
        source: Option<io::Error>,
    },
}

impl Error {
    /// Takes an error of ours that travelled through [`io::Read`] out again.
    ///
    /// Other errors become [`Error::Read`] at `offset`.
    pub fn read(offset: u64, source: io::Error) -> Self {
        source
            .downcast()
            .unwrap_or_else(|source| Self::Read { offset, source })
    }

    /// Says whether a limit of the caller's, not the stream, is the reason.
    pub fn is_limit(&self) -> bool {
        matches!(self, Self::Limit { .. })
    }
}

impl From<Error> for io::Error {
    /// Wraps the error, so that it can travel through [`io::Read`] and be taken out by
    /// [`Error::read`].
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            Error::Read { source, .. }
            | Error::Write { source, .. }
            | Error::Content { source, .. } => source.kind(),
            Error::Malformed { .. }
            | Error::UnknownType { .. }
            | Error::OutOfRange { .. }
            | Error::Limit { .. }
            | Error::Unrepresentable { .. }
            | Error::Length { .. }
            | Error::Damaged { .. }
            | Error::Compressor { .. } => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// What a pure parser found wrong, before anybody says where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Malformed(&'static str),
    OutOfRange {
        path: Vec<u8>,
        field: &'static str,
        value: i128,
    },
    Limit {
        limit: &'static str,
        maximum: u64,
    },
}

impl From<&'static str> for Problem {
    fn from(problem: &'static str) -> Self {
        Self::Malformed(problem)
    }
}

/// Returns what makes an error of a problem in `part` of the entry at `offset`.
pub(crate) fn at<P: Into<Problem>>(offset: u64, part: &'static str) -> impl FnOnce(P) -> Error {
    move |problem| match problem.into() {
        Problem::Malformed(problem) => Error::Malformed {
            offset,
            part,
            problem,
        },
        Problem::OutOfRange { path, field, value } => Error::OutOfRange { path, field, value },
        Problem::Limit { limit, maximum } => Error::Limit { limit, maximum },
    }
}
