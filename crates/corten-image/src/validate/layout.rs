//! Image layouts: their files, what is named in them, and every blob (image-layout.md).

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use corten_content::store::verify_blob;
use corten_content::{Error as ContentError, Result as ContentResult, Source};
use corten_spec::{Bound, Descriptor, Digest, DocumentType, Index, Layout, media_type};
use serde_json::Value;

use super::ValidateOptions;
use super::annotations::Holder;
use super::fields::{parse, quoted, shown};
use super::finding::{Fault, Finding, Within};
use super::index::check_index;
use super::report::{Findings, Report, chain, must, note};
use super::walk::Walk;
use crate::{Error, Result};

/// Checks the image layout in `directory`, which the store is one of: its files, everything that its
/// index leads to, and every other blob.
///
/// # Errors
/// Fails if something cannot be read, the directory itself for one.
pub fn validate_layout(directory: &Path, options: &ValidateOptions) -> Result<Vec<Finding>> {
    list(directory)?;
    let blobs = Blobs {
        directory: directory.join("blobs"),
    };
    let mut walk = Walk::new(&blobs, options);
    check_header(&mut walk.findings, directory)?;
    check_entries(&mut walk, directory)?;
    check_blobs(&mut walk, &blobs.directory)?;
    Ok(walk.into_findings())
}

fn check_header(findings: &mut Findings, directory: &Path) -> Result<()> {
    let mut report = Report::of_file(findings, Layout::FILE);
    let bytes = match read_file(directory, Layout::FILE, Layout::limit())? {
        Found::Bytes(bytes) => bytes,
        Found::Nothing => {
            let fault = Fault::missing("a file with `{\"imageLayoutVersion\":\"1.0.0\"}`");
            report.whole(must("LAY-03"), fault);
            return Ok(());
        }
        Found::Other(what) => {
            report.whole(must("LAY-03"), Fault::differs(what, "a small file"));
            return Ok(());
        }
    };
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(value) if value.is_object() => {
            let Some(value) = parse::<Layout>(&mut report, &bytes) else {
                return Ok(());
            };
            let (at, expected) = ("/imageLayoutVersion", quoted(Layout::VERSION));
            match value.get("imageLayoutVersion") {
                Some(version) if version == Layout::VERSION => {}
                Some(other) => {
                    let fault = Fault::differs(shown(other), expected);
                    report.pointer(at, must("LAY-05"), fault);
                }
                None => report.pointer(at, must("LAY-05"), Fault::missing(expected)),
            }
        }
        Ok(other) => {
            let fault = Fault::differs(shown(&other), "an object");
            report.whole(must("LAY-04"), fault);
        }
        Err(error) => report.whole(must("LAY-04"), format!("it is not JSON: {error}")),
    }
    Ok(())
}

fn check_entries(walk: &mut Walk<'_>, directory: &Path) -> Result<()> {
    let name = Layout::INDEX_FILE;
    let mut report = Report::of_file(&mut walk.findings, name);
    let bytes = match read_file(directory, name, Index::limit())? {
        Found::Bytes(bytes) => bytes,
        Found::Nothing => {
            report.whole(must("LAY-07"), Fault::missing("an index"));
            walk.is_incomplete = true;
            return Ok(());
        }
        Found::Other(what) => {
            report.whole(
                must("LAY-07"),
                Fault::differs(what, format!("a file of at most {} bytes", Index::limit())),
            );
            walk.is_incomplete = true;
            return Ok(());
        }
    };
    let index = Descriptor::of(media_type::OCI_INDEX, &bytes);
    let parts = check_index(&mut report, &index, &bytes, Holder::LayoutEntry);
    let is_broken = report.is_broken;
    walk.is_incomplete |= is_broken;
    walk.index_parts(parts, 0, &|findings| Report::of_file(findings, name))
}

/// Checks the blobs that nothing has led to; those that something has are checked already.
fn check_blobs(walk: &mut Walk<'_>, blobs: &Path) -> Result<()> {
    if !blobs.is_dir() {
        let mut report = Report::of_file(&mut walk.findings, "blobs");
        report.whole(must("LAY-02"), Fault::missing("a directory"));
        return Ok(());
    }
    for algorithm in list(blobs)? {
        if !algorithm.is_dir() {
            unexpected(walk, &algorithm);
            continue;
        }
        for path in list(&algorithm)? {
            match digest_of(&path) {
                Some(digest) if path.is_file() => check_blob(walk, &path, &digest)?,
                Some(_) | None => unexpected(walk, &path),
            }
        }
    }
    Ok(())
}

fn check_blob(walk: &mut Walk<'_>, path: &Path, digest: &Digest) -> Result<()> {
    let is_reached = walk.has_reached(digest);
    if !walk.verified.contains(digest) {
        let mut report = Report::of(&mut walk.findings, digest.clone());
        match verify_blob(path) {
            Ok(_) => drop(walk.verified.insert(digest.clone())),
            // What refers to it has been told about already.
            Err(ContentError::Corrupt { .. }) if is_reached => {}
            Err(ContentError::Corrupt { source, .. }) => {
                let fault: Fault = match &*source {
                    corten_spec::Error::DigestMismatch { expected, received } => {
                        Fault::differs(format!("`{received}`"), format!("`{expected}`"))
                            .saying(source.to_string())
                    }
                    other => other.to_string().into(),
                };
                report.whole(must("LAY-10"), fault);
            }
            Err(error @ ContentError::Unusable { .. }) => {
                report.whole(must("LAY-10"), chain(&error));
            }
            Err(ContentError::Invalid { source, .. }) => {
                report.whole(note("DSC-15"), source.to_string());
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !is_reached {
        let rule = if walk.is_incomplete {
            note("LAY-12").advise("it may belong to a document that is broken or missing")
        } else {
            note("LAY-12")
        };
        let mut report = Report::of(&mut walk.findings, digest.clone());
        report.whole(rule, "nothing refers to the blob");
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
    let mut report = Report::of_nothing(&mut walk.findings);
    let expected = "a file `blobs/ALGORITHM/ENCODED` of a digest";
    let fault = Fault::differs("something else", expected);
    let (path, pointer) = (names.join("/"), String::new());
    report.at(Within::File { path, pointer }, must("LAY-11"), fault);
}

fn digest_of(path: &Path) -> Option<Digest> {
    let algorithm = path.parent()?.file_name()?.to_str()?;
    let encoded = path.file_name()?.to_str()?;
    format!("{algorithm}:{encoded}").parse().ok()
}

/// What is under the name of a document.
enum Found {
    Bytes(Vec<u8>),
    Nothing,
    Other(String),
}

fn read_file(directory: &Path, name: &str, limit: Bound) -> Result<Found> {
    let path = directory.join(name);
    let metadata = match fs::metadata(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        metadata => metadata.map_err(Error::system("read", &path))?,
    };
    if !metadata.is_file() {
        return Ok(Found::Other("no regular file".to_owned()));
    }
    if metadata.len() > limit.bytes {
        return Ok(Found::Other(format!("a file of {} bytes", metadata.len())));
    }
    let bytes = fs::read(&path).map_err(Error::system("read", &path))?;
    Ok(Found::Bytes(bytes))
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = || Error::system("list", directory);
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed())? {
        paths.push(entry.map_err(failed())?.path());
    }
    paths.sort();
    Ok(paths)
}

/// The blobs of a layout, whatever its other files are like.
struct Blobs {
    directory: PathBuf,
}

impl Source for Blobs {
    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn resolve(&self, name: &str) -> ContentResult<Descriptor> {
        Err(self.not_found(name))
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> ContentResult<Box<dyn Read + Send + '_>> {
        let digest = &content.digest;
        let path = self
            .directory
            .join(digest.algorithm_name())
            .join(digest.encoded());
        // A directory or a pipe under the name is told about where blobs are listed.
        if !path.is_file() {
            return Err(self.not_found(digest.as_str()));
        }
        let mut file = File::open(&path).map_err(ContentError::system("open", &path))?;
        file.seek(SeekFrom::Start(offset))
            .map_err(ContentError::system("seek in", &path))?;
        Ok(Box::new(file))
    }
}

impl Blobs {
    fn not_found(&self, name: &str) -> ContentError {
        ContentError::NotFound {
            place: self.place(),
            name: name.to_owned(),
        }
    }
}
