//! What can be wrong with the text of a Dockerfile or an ignore file.

use crate::diagnostic::Diagnostic;

/// A text that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The Dockerfile breaks the grammar; every place found is listed, in the order of the text.
    #[error("{}", summary(diagnostics))]
    Syntax {
        /// At least one message.
        diagnostics: Vec<Diagnostic>,
    },
    /// A pattern of an ignore file is malformed.
    #[error("line {line}: `{pattern}` is not a valid pattern")]
    IgnorePattern {
        /// Line in the ignore file, counted from 1.
        line: usize,
        /// The pattern as written.
        pattern: String,
    },
    /// A glob is malformed, such as a bracket that is not closed.
    #[error("`{pattern}` is not a valid pattern")]
    Pattern {
        /// The pattern as written.
        pattern: String,
    },
    /// A `$…` in a word cannot be expanded.
    #[error("{reason} in `{word}`")]
    Expansion {
        /// The word that was expanded.
        word: String,
        /// What is wrong with it: for `${x:?message}`, the name and the message.
        reason: String,
    },
    /// A place in a git repository cannot be understood.
    #[error("cannot use the git repository `{url}`: {reason}")]
    GitUrl {
        /// The URL, without what could be secret.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A platform is not of the form `os/architecture/variant`.
    #[error("`{text}` is not a platform")]
    Platform {
        /// The text that was read.
        text: String,
    },
}

fn summary(diagnostics: &[Diagnostic]) -> String {
    match diagnostics {
        [] => "the Dockerfile cannot be read".to_owned(),
        [one] => format!("line {}: {}", one.span.line, one.message),
        [first, rest @ ..] => {
            format!(
                "line {}: {} (and {} more)",
                first.span.line,
                first.message,
                rest.len()
            )
        }
    }
}
