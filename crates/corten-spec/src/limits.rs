//! How long documents may be.

use std::fmt;
use std::sync::OnceLock;

/// The most bytes of something, and what the bound is called where it can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// The most bytes.
    pub bytes: u64,
    /// Its name in [`DocumentLimits`]; `None` for a bound that is always the same.
    pub name: Option<&'static str>,
}

impl Bound {
    /// Returns the larger of two bounds.
    #[must_use]
    pub fn or_larger(self, other: Self) -> Self {
        if other.bytes > self.bytes {
            other
        } else {
            self
        }
    }
}

impl From<u64> for Bound {
    fn from(bytes: u64) -> Self {
        Self { bytes, name: None }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

/// How many bytes a document may have that this process reads (CNS-09).
///
/// They are one set a process, not an argument of every reader: what they guard is the memory of the
/// process, and documents are read in places that know nothing of who asked for them.
///
/// ```
/// let mut limits = corten_spec::DocumentLimits::default();
/// assert!(limits.set("manifest_bytes", 8 << 20));
/// assert_eq!(limits.manifest_bytes, 8 << 20);
/// assert!(!limits.set("manifests", 1), "there is no such limit");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Bytes of a manifest: 4 MiB.
    pub manifest_bytes: u64,
    /// Bytes of an index, that of a layout included: 16 MiB.
    pub index_bytes: u64,
    /// Bytes of the config of an image: 8 MiB.
    pub config_bytes: u64,
}

static INSTALLED: OnceLock<DocumentLimits> = OnceLock::new();

impl Default for DocumentLimits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            index_bytes: 16 << 20,
            config_bytes: 8 << 20,
        }
    }
}

impl DocumentLimits {
    /// The names of all limits, as errors have them.
    pub const NAMES: [&str; 3] = ["manifest_bytes", "index_bytes", "config_bytes"];

    /// Sets the limit called `name`, and tells whether there is one.
    pub fn set(&mut self, name: &str, value: u64) -> bool {
        let field = match name {
            "manifest_bytes" => &mut self.manifest_bytes,
            "index_bytes" => &mut self.index_bytes,
            "config_bytes" => &mut self.config_bytes,
            _ => return false,
        };
        *field = value;
        true
    }

    /// Makes these the limits of the process, and tells whether they are: the first call decides.
    ///
    /// It comes before the first document is read.
    pub fn install(self) -> bool {
        *INSTALLED.get_or_init(|| self) == self
    }

    /// Returns the limits of the process.
    pub fn installed() -> Self {
        INSTALLED.get().copied().unwrap_or_default()
    }

    /// Returns the bound on a manifest.
    pub fn manifest(&self) -> Bound {
        named("manifest_bytes", self.manifest_bytes)
    }

    /// Returns the bound on an index.
    pub fn index(&self) -> Bound {
        named("index_bytes", self.index_bytes)
    }

    /// Returns the bound on the config of an image.
    pub fn config(&self) -> Bound {
        named("config_bytes", self.config_bytes)
    }

    /// Returns the bound on what may be a manifest or an index.
    pub fn either(&self) -> Bound {
        self.index().or_larger(self.manifest())
    }
}

fn named(name: &'static str, bytes: u64) -> Bound {
    Bound {
        bytes,
        name: Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_sets_a_limit_of_its_own() {
        let mut limits = DocumentLimits::default();
        for (number, name) in (1..).zip(DocumentLimits::NAMES) {
            assert!(limits.set(name, number), "{name}");
        }
        let bounds = [limits.manifest(), limits.index(), limits.config()];
        assert_eq!(bounds.map(|bound| bound.bytes), [1, 2, 3]);
        assert_eq!(
            bounds.map(|bound| bound.name.unwrap()),
            DocumentLimits::NAMES
        );
        assert_eq!(limits.either(), limits.index());
        limits.manifest_bytes = 10;
        assert_eq!(limits.either(), limits.manifest());
    }
}
