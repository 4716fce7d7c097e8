//! Keys of the build cache: digests of everything that a step's result depends on.

use corten_spec::{Algorithm, Digest, Hasher};

/// A key being computed. Every field goes in with its length, so that no two lists of fields give
/// the same bytes.
#[derive(Debug)]
pub(crate) struct Key(Hasher);

/// Changed whenever the meaning of a key, or the layer that a step makes, changes.
const VERSION: &str = "corten build 1";

impl Key {
    /// Starts the key of a step called `kind`.
    pub(crate) fn new(kind: &str) -> Self {
        let mut key = Self(Hasher::new(Algorithm::Sha256));
        key.text(VERSION);
        key.text(kind);
        key
    }

    /// Adds a field.
    pub(crate) fn bytes(&mut self, field: &[u8]) {
        self.0.update(&(field.len() as u64).to_le_bytes());
        self.0.update(field);
    }

    /// Adds a field of text.
    pub(crate) fn text(&mut self, field: &str) {
        self.bytes(field.as_bytes());
    }

    /// Adds a field that may be absent.
    pub(crate) fn optional(&mut self, field: Option<&str>) {
        self.number(i64::from(field.is_some()));
        self.text(field.unwrap_or_default());
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, field: i64) {
        self.bytes(&field.to_le_bytes());
    }

    /// Adds a list, whose length counts.
    pub(crate) fn list<T: AsRef<str>>(&mut self, fields: &[T]) {
        self.number(i64::try_from(fields.len()).unwrap_or(i64::MAX));
        for field in fields {
            self.text(field.as_ref());
        }
    }

    /// Returns the key.
    pub(crate) fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let key = |lists: &[&[&str]]| {
            let mut key = Key::new("x");
            for list in lists {
                key.list(list);
            }
            key.finish()
        };
        let keys = [
            key(&[&["ab"]]),
            key(&[&["a", "b"]]),
            key(&[&["a"], &["b"]]),
            key(&[&["ab"], &[]]),
            key(&[&["", "ab"]]),
        ];
        for (number, left) in keys.iter().enumerate() {
            assert!(
                !keys.iter().skip(number + 1).any(|right| left == right),
                "{number}"
            );
        }
    }
}
