//! Layers: digest, `DiffID`, and what every entry means on top of the layers beneath (layer.md).

use std::io::{self, Read};

use corten_content::{Error as ContentError, Source, Verified};
use corten_layer::{Error as LayerError, Resolver, Tree};
use corten_spec::media_type::LayerCompression;
use corten_spec::{Algorithm, Descriptor, DiffId, Digest, Hasher, Kind};
use corten_tar::{
    Decoder, Encoding, Ending, EntryKind, Error as TarError, LayerLimits, Limits, Located, Reader,
};

use super::finding::{Fault, Within};
use super::lint::{Lint, of_notice, of_quirk};
use super::report::{Findings, Report, Rule, chain, must, note, should};
use super::walk::{missing_of, unreadable};
use crate::{Error, Result};

/// What is beneath a layer.
#[derive(Debug)]
pub(super) struct Below {
    pub(super) tree: Tree,
    /// Whether all of it is in the tree. Else nothing is said of what may be missing in it.
    pub(super) is_known: bool,
}

impl Below {
    pub(super) fn unknown() -> Self {
        Self {
            tree: Tree::new(),
            is_known: false,
        }
    }
}

/// What came of a layer.
pub(super) struct Checked {
    /// The tree with the layer applied, as far as it could be.
    pub(super) tree: Below,
    /// Whether the blob is what its descriptor says.
    pub(super) is_verified: bool,
}

/// Reads the blob `layer` once, to its end whatever is in it, and applies it to what is below.
///
/// Without a `DiffID` everything else is checked all the same.
pub(super) fn check_layer(
    source: &dyn Source,
    (layer, limits): (&Descriptor, &LayerLimits),
    diff_id: Option<&DiffId>,
    below: Below,
    report: &mut Report<'_>,
) -> Result<Checked> {
    let lost = || Checked {
        tree: Below::unknown(),
        is_verified: false,
    };
    let mut blob = match corten_content::open(source, layer) {
        Ok(inner) => Blob {
            inner,
            failure: None,
        },
        Err(error) => {
            unreadable(report, error, missing_of(layer))?;
            return Ok(lost());
        }
    };
    // Of content that is not the layer's nothing is told but that.
    let mut findings = Findings::default();
    let mut inner = Report::of(&mut findings, layer.digest.clone());
    let read = read_layer(&mut blob, (layer, limits), diff_id, below, &mut inner);
    // The digest of the blob counts whatever became of its content.
    let rest = io::copy(&mut blob, &mut io::sink());
    if let Some(error) = blob.failure {
        unreadable(report, error, missing_of(layer))?;
        return Ok(lost());
    }
    debug_assert!(rest.is_ok(), "a failure is kept");
    // A limit is ours, and what is beyond it may be as good as any.
    let tree = read.map_err(|source| Error::Unchecked {
        layer: layer.digest.clone(),
        source,
    })?;
    report.absorb(findings);
    Ok(Checked {
        tree,
        is_verified: true,
    })
}

/// Reads the layer; an error is one of the limits, and the layer may be good beyond it.
fn read_layer<R: Read + Send>(
    blob: &mut Blob<R>,
    (layer, limits): (&Descriptor, &LayerLimits),
    diff_id: Option<&DiffId>,
    below: Below,
    report: &mut Report<'_>,
) -> corten_tar::Result<Below> {
    let mut decoder = match Decoder::new(Box::new(&mut *blob), limits.decoding) {
        Ok(decoder) => decoder,
        Err(error) => {
            tell_tar(report, error)?;
            return Ok(Below::unknown());
        }
    };
    let encoding = decoder.encoding();
    let algorithm = diff_id.map_or(Some(Algorithm::Sha256), |diff_id| diff_id.0.algorithm());
    let mut tee = Tee {
        inner: &mut decoder,
        hasher: Hasher::new(algorithm.unwrap_or(Algorithm::Sha256)),
    };
    let name = diff_id
        .cloned()
        .unwrap_or_else(|| DiffId(layer.digest.clone()));
    let mut apply = Apply::new(below, name, report);
    let read = apply.read(&mut tee, limits.archive);
    let (below, mut is_whole) = apply.finish(read.err())?;
    // What follows a broken entry belongs to the DiffID as well.
    let rest = io::copy(&mut tee, &mut io::sink());
    let received = tee.hasher.finish();
    if let (true, Err(error)) = (is_whole, rest) {
        tell_tar(report, TarError::read(0, error))?;
        is_whole = false;
    }
    if let Kind::Layer { compression, .. } = layer.kind() {
        check_encoding(report, layer, compression, encoding);
    }
    match diff_id {
        Some(expected) if algorithm.is_none() => {
            let message = format!("its DiffID, {expected}, cannot be computed");
            report.whole(should("DSC-15"), message);
        }
        Some(expected) if is_whole => check_diff_id(report, expected, &received),
        Some(_) | None => {}
    }
    Ok(below)
}

fn check_diff_id(report: &mut Report<'_>, expected: &DiffId, received: &Digest) {
    if expected.0 != *received {
        let fault = Fault::differs(format!("`{received}`"), format!("`{expected}`"));
        let message = format!("its DiffID is {received}, but the config says {expected}");
        report.whole(must("CFG-02"), fault.saying(message));
    }
}

/// A layer being applied, entry by entry, with everything told that is found.
struct Apply<'a, 'r> {
    resolver: Resolver,
    is_known: bool,
    lint: Lint,
    report: &'a mut Report<'r>,
}

impl<'a, 'r> Apply<'a, 'r> {
    fn new(below: Below, name: DiffId, report: &'a mut Report<'r>) -> Self {
        Self {
            resolver: Resolver::new(below.tree, name),
            is_known: below.is_known,
            lint: Lint::new(),
            report,
        }
    }

    /// Reads all entries that can be read. An error is one after which nothing can be.
    fn read(&mut self, tar: &mut impl Read, limits: Limits) -> corten_tar::Result<()> {
        let mut reader = Reader::new(tar, limits);
        loop {
            match reader.next_entry() {
                Ok(Some(located)) => {
                    self.entry(&located, reader.entry_offset(), reader.quirks());
                }
                Ok(None) => break,
                Err(error) if reader.can_resume() => {
                    if let TarError::UnknownType { path, .. } | TarError::OutOfRange { path, .. } =
                        &error
                    {
                        self.lint.refuse(path);
                        let offset = reader.entry_offset();
                        let path = path.as_slice().into();
                        let within = Within::Entry { path, offset };
                        self.report.at(within, rule_of(&error), error.to_string());
                    }
                    self.is_known = false;
                }
                Err(error) => return Err(error),
            }
        }
        let ending = reader.read_ending()?;
        tell_ending(self.report, ending);
        Ok(())
    }

    fn entry(&mut self, located: &Located, offset: u64, quirks: &[corten_tar::Quirk]) {
        let entry = &located.entry;
        let is_repeated = self.lint.has(&entry.path);
        let tree = self.is_known.then(|| self.resolver.tree());
        let mut told = self.lint.entry(located, tree);
        told.extend(quirks.iter().copied().map(of_quirk));
        if let Err(error) = self.resolver.apply(located) {
            let lost = entry.kind == EntryKind::HardLink
                && matches!(rule_of_layer(&error).id, "LYR-20")
                && (!self.is_known || self.lint.is_refused(&entry.link));
            if !lost {
                told.push((rule_of_layer(&error), reason(&error).into()));
            }
            self.lint.refuse(&entry.path);
        }
        for finding in self.resolver.take_report().findings {
            told.extend(of_notice(finding.what, is_repeated));
        }
        for (rule, fault) in told {
            if rule.id == "LYR-39" && !self.is_known {
                continue;
            }
            let path = entry.path.as_slice().into();
            self.report.at(Within::Entry { path, offset }, rule, fault);
        }
    }

    /// Returns what is below the next layer, and whether the archive could be read to its end.
    fn finish(self, failure: Option<TarError>) -> corten_tar::Result<(Below, bool)> {
        let is_known = self.is_known && failure.is_none();
        let mut is_whole = true;
        if let Some(error) = failure {
            // What cannot be decompressed to its end has no DiffID.
            is_whole = !matches!(error, TarError::Damaged { .. } | TarError::Read { .. });
            tell_tar(self.report, error)?;
        }
        let (tree, _) = self.resolver.finish();
        Ok((Below { tree, is_known }, is_whole))
    }
}

fn tell_ending(report: &mut Report<'_>, ending: Ending) {
    if ending.marker_blocks < 2 {
        let fault = Fault::differs(ending.marker_blocks.to_string(), "2");
        let message = "the archive does not end in two blocks of zeros";
        report.whole(note("LYR-03"), fault.saying(message));
    }
    if !ending.trailing_is_zero {
        let n_bytes = ending.trailing_bytes;
        let message = format!("{n_bytes} bytes follow the end of the archive, not all zero");
        report.whole(should("LYR-03"), message);
    }
}

fn check_encoding(
    report: &mut Report<'_>,
    layer: &Descriptor,
    named: LayerCompression,
    found: Encoding,
) {
    let (fits, expected) = match named {
        LayerCompression::None => (found == Encoding::Identity, "a plain tar"),
        LayerCompression::Gzip => (found == Encoding::Gzip, "gzip"),
        LayerCompression::Zstd => (found == Encoding::Zstd, "zstd"),
    };
    if !fits {
        let message = format!(
            "the layer is {found}, but its type is `{}`",
            layer.media_type
        );
        let rule = if matches!(found, Encoding::Xz | Encoding::Bzip2) {
            must("LYR-01")
        } else {
            should("LYR-01")
        };
        report.whole(
            rule,
            Fault::differs(found.to_string(), expected).saying(message),
        );
    }
}

/// Tells of an error after which the archive cannot be read on.
fn tell_tar(report: &mut Report<'_>, error: TarError) -> corten_tar::Result<()> {
    let within = match &error {
        TarError::Limit { .. } => return Err(error),
        // What the reader beneath says is about the blob, and told there.
        TarError::Read { .. } => return Ok(()),
        TarError::Malformed { offset, .. } | TarError::Truncated { offset } => {
            Within::Byte(*offset)
        }
        TarError::UnknownType { offset, path, .. } => Within::Entry {
            path: path.as_slice().into(),
            offset: *offset,
        },
        _ => Within::Whole,
    };
    report.at(within, rule_of(&error), chain(&error));
    Ok(())
}

fn rule_of(error: &TarError) -> Rule {
    match error {
        TarError::UnknownType { .. } => must("LYR-05"),
        TarError::OutOfRange { field, .. } if field.starts_with("device") => must("LYR-05"),
        TarError::OutOfRange { .. } => must("LYR-07"),
        TarError::Damaged { problem, .. } if problem.contains("follow") => must("LYR-62"),
        TarError::Damaged { .. } => must("LYR-01"),
        _ => must("LYR-02"),
    }
}

/// Returns which requirement an entry breaks that is refused.
fn rule_of_layer(error: &LayerError) -> Rule {
    let LayerError::Refused { reason, .. } = error else {
        return must("LYR-43");
    };
    let reasons = [
        ("whiteout", "LYR-29"),
        ("hard link to a directory", "LYR-17"),
        ("hard link", "LYR-20"),
        ("symbolic link to nothing", "LYR-10"),
        ("longer than 255", "LYR-15"),
        ("the root", "LYR-27"),
        ("limit", "LYR-02"),
    ];
    let found = reasons.iter().find(|(text, _)| reason.contains(text));
    must(found.map_or("LYR-43", |(_, id)| id))
}

fn reason(error: &LayerError) -> String {
    match error {
        LayerError::Refused { reason, .. } => (*reason).to_owned(),
        other => chain(other),
    }
}

/// A blob that keeps what went wrong with it, so that it is not taken for a fault of what is in it.
struct Blob<R> {
    inner: Verified<R>,
    failure: Option<ContentError>,
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Err(io::Error::other("the blob cannot be read on"));
        }
        match self.inner.read(buf) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                self.failure = Some(ContentError::stream("read the layer", error));
                Err(io::Error::other("the blob cannot be read on"))
            }
            result => result,
        }
    }
}

/// Hashes what is read through it.
struct Tee<R> {
    inner: R,
    hasher: Hasher,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n_read = self.inner.read(buf)?;
        self.hasher.update(buf.get(..n_read).unwrap_or_default());
        Ok(n_read)
    }
}
