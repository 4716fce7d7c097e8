//! What went into a key, short enough to be kept.

use corten_spec::Digest;
use serde::{Deserialize, Serialize};

/// A BLAKE3 digest.
pub(crate) type Hash = [u8; 32];

/// What went into one key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Account {
    /// Names and values, in the order in which they went in.
    pub(crate) inputs: Vec<(String, String)>,
    /// The variables that a command sees.
    pub(crate) variables: Vec<(String, Value)>,
    #[serde(skip)]
    pub(crate) files: Files,
}

/// The value of a variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Value {
    Shown(String),
    /// A few bits of its digest: enough to see a change, too few to find the value by trying.
    Hidden(u16),
}

/// Longer values are cut, and told apart by their digest.
const LONGEST: usize = 1 << 10;

impl Account {
    /// Adds an input by the name that users know it by.
    pub(crate) fn input(&mut self, name: &str, value: &str) {
        self.inputs.push((name.to_owned(), cut(value)));
    }

    /// Adds a variable. What its name says is secret is not kept.
    pub(crate) fn variable(&mut self, name: &str, value: &str) {
        let value = if is_secret(name) {
            let hash = blake3::hash(value.as_bytes());
            let [low, high, ..] = *hash.as_bytes();
            Value::Hidden(u16::from_le_bytes([low, high]))
        } else {
            Value::Shown(cut(value))
        };
        self.variables.push((name.to_owned(), value));
    }
}

fn cut(value: &str) -> String {
    let Some((start, _)) = value.split_at_checked(LONGEST) else {
        return value.to_owned();
    };
    format!("{start}… ({})", Digest::sha256(value.as_bytes()))
}

/// Tells whether a variable is called like those that hold secrets, by the words that BuildKit's check
/// `SecretsUsedInArgOrEnv` looks for.
fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 11] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "pass",
        "password",
        "passwd",
        "pword",
        "secret",
        "token",
    ];
    let name = name.to_ascii_lowercase();
    name.split('_').any(|word| WORDS.contains(&word))
}

/// Files with their digests, packed: a context has many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_cut: bool,
}

/// What is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileKind {
    File,
    Directory,
    Symlink,
    Other,
}

/// One of [`Files`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Note<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) kind: FileKind,
    pub(crate) mode: u32,
    /// A digest of the other attributes, only to see a change.
    pub(crate) rest: u32,
    /// Of the content, or of the target of a link.
    pub(crate) content: Hash,
}

/// What all notes together may take.
const MOST_BYTES: usize = 16 << 20;
/// What a note takes besides its path.
const FIXED: usize = 2 + 1 + 4 + 4 + 32;

impl Files {
    pub(crate) fn push(&mut self, note: &Note<'_>) {
        let len = u16::try_from(note.path.len());
        let (Ok(len), false) = (len, self.bytes.len() > MOST_BYTES) else {
            self.is_cut = true;
            return;
        };
        let kind: u8 = match note.kind {
            FileKind::File => 0,
            FileKind::Directory => 1,
            FileKind::Symlink => 2,
            FileKind::Other => 3,
        };
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(note.path);
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&note.mode.to_le_bytes());
        self.bytes.extend_from_slice(&note.rest.to_le_bytes());
        self.bytes.extend_from_slice(&note.content);
    }

    /// Returns the notes; damaged bytes end them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Note<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let len = usize::from(u16::from_le_bytes(*len));
            let (path, after) = after.split_at_checked(len)?;
            let (fixed, after) = after.split_first_chunk::<{ FIXED - 2 }>()?;
            let (kind, fixed) = fixed.split_first()?;
            let (mode, fixed) = fixed.split_first_chunk::<4>()?;
            let (other, content) = fixed.split_first_chunk::<4>()?;
            rest = after;
            Some(Note {
                path,
                kind: match kind {
                    0 => FileKind::File,
                    1 => FileKind::Directory,
                    2 => FileKind::Symlink,
                    _ => FileKind::Other,
                },
                mode: u32::from_le_bytes(*mode),
                rest: u32::from_le_bytes(*other),
                content: content.try_into().ok()?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back() {
        let notes = [
            Note {
                path: b"a/b",
                kind: FileKind::File,
                mode: 0o644,
                rest: 7,
                content: [9; 32],
            },
            Note {
                path: b"",
                kind: FileKind::Directory,
                mode: 0o755,
                rest: 0,
                content: [0; 32],
            },
        ];
        let mut files = Files::default();
        for note in &notes {
            files.push(note);
        }
        assert_eq!(files.iter().collect::<Vec<_>>(), notes);
        files.bytes.pop();
        assert_eq!(files.iter().count(), 1);
    }

    #[test]
    fn secrets_are_not_kept() {
        let mut account = Account::default();
        for name in ["NPM_TOKEN", "PASSWORD", "aws_secret_id", "API_KEY"] {
            account.variable(name, "hunter2");
        }
        account.variable("KEYBOARD", "us");
        let text = serde_json::to_string(&account).unwrap();
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("us"), "{text}");
    }
}
