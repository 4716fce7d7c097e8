//! Keys of the build cache: digests of everything that a step's result depends on.

use corten_spec::{Algorithm, Digest, Hasher};

use crate::explain::{Account, Ledger};

mod inputs;

/// A key being computed. Every field goes in with its length, and every list with its number of
/// fields, so that no two different inputs give the same bytes.
#[derive(Debug)]
pub(crate) struct Key {
    hasher: Hasher,
    /// What went in, for who wants to know what changed.
    account: Account,
    ledger: Ledger,
}

/// Changed whenever the meaning of a key, or the layer that a step makes, changes.
pub(crate) const VERSION: &str = "corten build 3";

impl Key {
    /// Starts the key of a step called `kind`, which is entered into `ledger` when it is complete.
    pub(crate) fn new(kind: &str, ledger: &Ledger) -> Self {
        let mut key = Self {
            hasher: Hasher::new(Algorithm::Sha256),
            account: Account::default(),
            ledger: ledger.clone(),
        };
        key.text(VERSION);
        key.text(kind);
        key
    }

    /// Adds a field.
    pub(crate) fn bytes(&mut self, field: &[u8]) {
        framed(field, |bytes| self.hasher.update(bytes));
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

    /// Adds how many fields follow.
    pub(crate) fn count(&mut self, n_fields: usize) {
        self.number(i64::try_from(n_fields).unwrap_or(i64::MAX));
    }

    /// Adds a list, whose length counts.
    pub(crate) fn list<T: AsRef<str>>(&mut self, fields: &[T]) {
        self.count(fields.len());
        for field in fields {
            self.text(field.as_ref());
        }
    }

    /// Adds pairs of a name and a value.
    pub(crate) fn pairs(&mut self, pairs: &[(String, String)]) {
        self.count(pairs.len());
        for (name, value) in pairs {
            self.text(name);
            self.text(value);
        }
    }

    /// Adds what `listing` has as one field.
    pub(crate) fn listing(&mut self, listing: Listing) {
        self.bytes(&listing.finish());
    }

    /// Returns what is told about the key's inputs; it does not count for the key.
    pub(crate) fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    /// Returns the key.
    pub(crate) fn finish(self) -> Digest {
        let digest = self.hasher.finish();
        self.ledger.enter(self.account);
        digest
    }
}

/// Fields of many files, framed like those of a key, in which their digest is one field: BLAKE3 takes a
/// tenth of the time of SHA-256 where a processor has no instructions for that.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    hasher: blake3::Hasher,
    /// What was not hashed yet: the hash is fast on long input alone.
    pending: Vec<u8>,
}

impl Listing {
    /// Adds a field.
    pub(crate) fn bytes(&mut self, field: &[u8]) {
        framed(field, |bytes| self.pending.extend_from_slice(bytes));
        if self.pending.len() >= PENDING {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
    }

    /// Adds a field of text.
    pub(crate) fn text(&mut self, field: &str) {
        self.bytes(field.as_bytes());
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, field: i64) {
        self.bytes(&field.to_le_bytes());
    }

    /// Adds how many fields follow.
    pub(crate) fn count(&mut self, n_fields: usize) {
        self.number(i64::try_from(n_fields).unwrap_or(i64::MAX));
    }

    fn finish(mut self) -> [u8; 32] {
        self.hasher.update(&self.pending);
        *self.hasher.finalize().as_bytes()
    }
}

const PENDING: usize = 64 << 10;

fn framed(field: &[u8], mut add: impl FnMut(&[u8])) {
    add(&(field.len() as u64).to_le_bytes());
    add(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_counts_wherever_it_is_hashed() {
        let key = |fields: &[&[u8]]| {
            let mut listing = Listing::default();
            for field in fields {
                listing.bytes(field);
            }
            let mut key = Key::new("x", &Ledger::default());
            key.listing(listing);
            key.finish()
        };
        let long = vec![b'x'; PENDING];
        let longer = vec![b'x'; PENDING + 1];
        let keys = [
            key(&[]),
            key(&[b""]),
            key(&[b"ab"]),
            key(&[b"a", b"b"]),
            key(&[&long]),
            key(&[&longer]),
            key(&[&longer, b"a"]),
            key(&[b"a", &longer]),
        ];
        for (number, left) in keys.iter().enumerate() {
            assert!(
                !keys.iter().skip(number + 1).any(|right| left == right),
                "{number}"
            );
        }
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let key = |lists: &[&[&str]]| {
            let mut key = Key::new("x", &Ledger::default());
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
