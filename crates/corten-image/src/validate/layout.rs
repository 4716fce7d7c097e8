//! Image layouts: their files, what is named in them, and every blob (image-layout.md).

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use corten_content::store::verify_blob;
use corten_content::{Error as ContentError, Layout};
use corten_spec::{Descriptor, Digest, media_type};

use super::manifest::check_index;
use super::walk::Walk;
use super::{Finding, Report, ValidateOptions, Within, chain, must, note};
use crate::{Error, Result};

/// Checks the image layout in `directory`, which the store is one of: its files, everything that its
/// index leads to, and every other blob.
pub fn validate_layout(directory: &Path, options: &ValidateOptions) -> Result<Vec<Finding>> {
    let layout = match Layout::open(directory) {
        Ok(layout) => layout,
        Err(error) => {
            let mut findings = super::Findings::default();
            let mut report = Report::new(&mut findings, None);
            report.at(
                Within::File("oci-layout".into()),
                must("LAY-03"),
                chain(&error),
            );
            return Ok(findings.into_vec());
        }
    };
    let mut walk = Walk::new(&layout, options);
    check_entries(&mut walk, directory)?;
    check_blobs(&mut walk, &directory.join("blobs"))?;
    Ok(walk.into_findings())
}

fn check_entries(walk: &mut Walk<'_>, directory: &Path) -> Result<()> {
    let path = directory.join("index.json");
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut report = Report::new(&mut walk.findings, None);
            report.at(
                Within::File("index.json".into()),
                must("LAY-07"),
                "it is not there",
            );
            return Ok(());
        }
        bytes => bytes.map_err(Error::system("read", &path))?,
    };
    let index = Descriptor::of(media_type::OCI_INDEX, &bytes);
    let digest = Some(index.digest.clone());
    let entries = check_index(&mut Report::new(&mut walk.findings, digest), &index, &bytes);
    walk.entries(&index, entries, 0)
}

/// Checks the blobs that nothing has led to; those that something has are checked already.
fn check_blobs(walk: &mut Walk<'_>, blobs: &Path) -> Result<()> {
    for algorithm in list(blobs)? {
        if !algorithm.is_dir() {
            unexpected(walk, &algorithm);
            continue;
        }
        for path in list(&algorithm)? {
            let Some(digest) = digest_of(&path) else {
                unexpected(walk, &path);
                continue;
            };
            let is_reached = walk.reached.contains(&digest);
            if !walk.verified.contains(&digest) {
                check_blob(walk, &path, &digest, is_reached)?;
            }
            if !is_reached {
                let mut report = Report::new(&mut walk.findings, Some(digest));
                report.whole(note("LAY-12"), "nothing refers to the blob");
            }
        }
    }
    Ok(())
}

fn check_blob(walk: &mut Walk<'_>, path: &Path, digest: &Digest, is_reached: bool) -> Result<()> {
    match verify_blob(path) {
        Ok(_) => {
            walk.verified.insert(digest.clone());
        }
        // What refers to it has been told about already.
        Err(ContentError::Corrupt { .. }) if is_reached => {}
        Err(error @ (ContentError::Corrupt { .. } | ContentError::Unusable { .. })) => {
            let mut report = Report::new(&mut walk.findings, Some(digest.clone()));
            report.whole(must("LAY-10"), chain(&error));
        }
        Err(ContentError::Invalid { source, .. }) => {
            let mut report = Report::new(&mut walk.findings, Some(digest.clone()));
            report.whole(note("DSC-15"), source.to_string());
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn unexpected(walk: &mut Walk<'_>, path: &Path) {
    let mut names = path
        .iter()
        .rev()
        .take(3)
        .map(|name| name.to_string_lossy())
        .collect::<Vec<_>>();
    if names.get(1).is_some_and(|name| name == "blobs") {
        names.truncate(2);
    }
    names.reverse();
    let mut report = Report::new(&mut walk.findings, None);
    let message = "its path is not `blobs/ALGORITHM/ENCODED` of a digest";
    report.at(Within::File(names.join("/")), must("LAY-11"), message);
}

fn digest_of(path: &Path) -> Option<Digest> {
    let algorithm = path.parent()?.file_name()?.to_str()?;
    let encoded = path.file_name()?.to_str()?;
    format!("{algorithm}:{encoded}").parse().ok()
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = || Error::system("list", directory);
    let mut paths = Vec::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(paths),
        entries => entries.map_err(failed())?,
    };
    for entry in entries {
        paths.push(entry.map_err(failed())?.path());
    }
    paths.sort();
    Ok(paths)
}
