//! Sources of COPY and ADD that the ignore file leaves out.

use super::findings::{Local, Place};
use super::rule::Rule;
use crate::address::{self, Kind};
use crate::expand::expand;
use crate::ignore::Ignore;
use crate::instruction::{Copy, CopySource};
use crate::path::clean_bytes;

pub(super) fn judge(
    copy: &Copy,
    ignore: &Ignore,
    env: &[(String, String)],
    escape: char,
    place: Place,
    findings: &mut Local<'_>,
) {
    // Where something is taken back, a directory that is left out may still have what is wanted.
    if copy.from.is_some() || ignore.is_empty() || ignore.has_exceptions() {
        return;
    }
    let verb = if copy.add { "Add" } else { "Copy" };
    for source in &copy.sources {
        let CopySource::Path(word) = source else {
            continue;
        };
        let Ok(source) = expand(&word.text, env, escape) else {
            continue;
        };
        if !matches!(address::kind(&source.text, word), Ok(Kind::Path)) {
            continue;
        }
        let path = clean_bytes(source.text.as_bytes());
        let is_root = path == b"." || path == b"/";
        if is_root && !ignore.empties_root() || !ignore.decide(&path).excluded {
            continue;
        }
        let path = String::from_utf8_lossy(&path);
        findings.report(
            Rule::CopyIgnoredFile,
            place,
            format!(
                "Attempting to {verb} file {} that is excluded by .dockerignore",
                crate::resolve::show::quote(&path)
            ),
        );
    }
}
