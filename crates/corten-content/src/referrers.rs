//! What refers to content, and what refers to that.

use std::collections::HashSet;

use corten_spec::{Descriptor, Digest};

use crate::{Error, Result, Source};

/// A manifest that names another as its subject, and those that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest, as the list of referrers describes it.
    pub content: Descriptor,
    /// What refers to it.
    pub referrers: Vec<Self>,
}

/// Returns the tree of what refers to `subject` in `source`, `depth` levels of it.
///
/// Lists of referrers are what somebody said, and need not be true: what is listed under itself, or
/// a second time, is not followed again, and a tree of too many is refused.
pub fn referrers(source: &dyn Source, subject: &Digest, depth: usize) -> Result<Vec<Referrer>> {
    let mut known = HashSet::from([subject.clone()]);
    beneath(source, subject, depth, &mut known)
}

fn beneath(
    source: &dyn Source,
    subject: &Digest,
    depth: usize,
    known: &mut HashSet<Digest>,
) -> Result<Vec<Referrer>> {
    /// The most that one tree holds.
    const LIMIT: usize = 10_000;
    /// How deep a tree is followed, whatever is asked for: each level is one more call.
    const DEEPEST: usize = 32;
    let Some(depth) = depth.min(DEEPEST).checked_sub(1) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for content in source.referrers(subject)? {
        if !known.insert(content.digest.clone()) {
            continue;
        }
        if known.len() > LIMIT {
            return Err(Error::Unusable {
                place: source.place(),
                reason: format!(
                    "more than {LIMIT} manifests refer to `{subject}` or to each other"
                ),
            });
        }
        let referrers = beneath(source, &content.digest, depth, known)?;
        found.push(Referrer { content, referrers });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// A place where, it says, two manifests refer to each other.
    struct Circle;

    impl Source for Circle {
        fn place(&self) -> String {
            "circle".into()
        }

        fn resolve(&self, _: &str) -> Result<Descriptor> {
            Ok(Descriptor::of("a/b", b"0"))
        }

        fn fetch(&self, _: &Descriptor, _: u64) -> Result<Box<dyn Read + Send + '_>> {
            Ok(Box::new(std::io::empty()))
        }

        fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>> {
            let other = if *subject == Digest::sha256(b"1") {
                b"2"
            } else {
                b"1"
            };
            Ok(vec![
                Descriptor::of("a/b", other),
                Descriptor::of("a/b", b"0"),
            ])
        }
    }

    #[test]
    fn a_circle_ends_and_so_does_what_was_asked_for() {
        #[track_caller]
        fn check(depth: usize, expected: usize) {
            let mut found = referrers(&Circle, &Digest::sha256(b"0"), depth).unwrap();
            let mut n_levels = 0;
            while let Some(first) = found.pop() {
                n_levels += 1;
                found = first.referrers;
            }
            assert_eq!(n_levels, expected);
        }
        check(0, 0);
        check(1, 1);
        check(2, 2);
        check(usize::MAX, 2);
    }
}
