//! What can still be read of a damaged `index.json`.
//!
//! The names of all images are in this one file. Whatever happened to it, each entry that is whole
//! counts: one after another is looked for, and what is between them is passed over.

use corten_spec::Descriptor;
use serde_json::value::RawValue;

use crate::layout::index::parse_entry;

/// The entries of a damaged index.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    /// Those that are whole.
    pub(crate) entries: Vec<Descriptor>,
    /// At how many places something else was, or the file was cut: at least one entry is gone there,
    /// and how many more nobody can say.
    pub(crate) gaps: usize,
}

/// How many objects in a row are tried where nothing can be read. An entry has a few objects within;
/// without a bound, braces alone would take time that grows with the square of their number.
const MOST_TRIED: usize = 200;

/// Reads the entries of a damaged `index.json` that can still be read.
pub(crate) fn salvage(bytes: &[u8]) -> Salvaged {
    let mut found = Salvaged::default();
    let mut rest = list(bytes).unwrap_or(bytes);
    // Where the list does not begin as it should, all that comes first may be anything.
    let mut n_tried = usize::from(list(bytes).is_none());
    found.gaps = n_tried;
    while n_tried < MOST_TRIED {
        rest = match rest.split_first() {
            None => break,
            Some((b'{', within)) => {
                let object = first_value(rest);
                let len = object.map_or(1, |object| object.get().len());
                if let Some(entry) = object.and_then(|object| parse_entry(object, "").ok()) {
                    found.entries.push(entry);
                    n_tried = 0;
                } else {
                    found.gaps += usize::from(n_tried == 0);
                    n_tried += 1;
                }
                // What is no entry may hold one: a quote that is gone makes others of all strings.
                if n_tried == 0 {
                    rest.get(len..).unwrap_or_default()
                } else {
                    within
                }
            }
            Some((b']', _)) if n_tried == 0 => return found,
            Some((byte, after)) => {
                if n_tried == 0 && !b", \t\r\n".contains(byte) {
                    found.gaps += 1;
                    n_tried = 1;
                }
                after
            }
        };
    }
    // It was cut.
    found.gaps += usize::from(n_tried == 0);
    found
}

/// Returns what follows the beginning of the list of entries.
fn list(bytes: &[u8]) -> Option<&[u8]> {
    let name = b"\"manifests\"";
    let at = bytes.windows(name.len()).position(|found| found == name)?;
    let after = bytes.get(at + name.len()..)?.trim_ascii_start();
    after
        .strip_prefix(b":")?
        .trim_ascii_start()
        .strip_prefix(b"[")
}

fn first_value(bytes: &[u8]) -> Option<&RawValue> {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    values.next()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks which of the entries, named by their sizes, are found in `text`, and how many gaps.
    #[track_caller]
    fn check(text: &str, sizes: &[u64], gaps: usize) {
        let found = salvage(text.as_bytes());
        let found_sizes: Vec<u64> = found.entries.iter().map(|entry| entry.size).collect();
        assert_eq!((&found_sizes[..], found.gaps), (sizes, gaps), "{text}");
    }

    fn entry(size: u64) -> String {
        let digest = corten_spec::Digest::sha256(b"");
        format!(
            r#"{{"mediaType":"a/b","digest":"{digest}","size":{size},"annotations":{{"x":"}}]"}},"platform":{{"architecture":"a","os":"b","os.features":["c"]}}}}"#
        )
    }

    fn index(entries: &str) -> String {
        format!(r#"{{"schemaVersion":2,"manifests" : [{entries}],"annotations":{{}}}}"#)
    }

    #[test]
    fn whole_entries_are_found() {
        let (one, two, three) = (entry(1), entry(2), entry(3));
        check(&index(&format!("{one}, {two},\n{three}")), &[1, 2, 3], 0);
        check(&index(""), &[], 0);
        check("", &[], 1);
        check("{", &[], 1);
        check("\0\0\0\0", &[], 1);
        check(&index(&format!("{one},{{\"size\":2}},{three}")), &[1, 3], 1);
        check(&index(&format!("{one},7,{three}")), &[1, 3], 1);
        let all = index(&format!("{one},{two},{three}"));
        // A byte of the middle one is another.
        for (from, to) in [
            (r#"size":2,"#, r#"size":2;"#),
            (r#"size":2,"#, r#"size:2","#),
            (r#"size":2,"#, r#"sizf":2,"#),
            (r#"size":2,"annotations":{"#, r#"size":2,"annotations":["#),
        ] {
            assert!(all.contains(from), "{from}");
            check(&all.replacen(from, to, 1), &[1, 3], 1);
        }
        // The list does not begin.
        check(&all.replacen("manifests", "manifestz", 1), &[1, 2, 3], 1);
    }

    #[test]
    fn a_file_may_be_cut_anywhere() {
        let (one, two) = (entry(1), entry(2));
        let all = index(&format!("{one},{two}"));
        let first = all.find(&two).unwrap() - 1;
        let second = first + 1 + two.len();
        for len in 0..=second {
            let text = all.get(..len).unwrap();
            let sizes: &[u64] = match len {
                _ if len < first => &[],
                _ if len < second => &[1],
                _ => &[1, 2],
            };
            check(text, sizes, 1);
        }
    }

    #[test]
    fn braces_alone_take_no_time() {
        let text = "{\"a\":".repeat(1 << 15);
        check(&text, &[], 1);
    }
}
