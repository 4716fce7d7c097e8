//! Layers: digest, `DiffID`, and what every entry means on top of the layers beneath (layer.md).

use std::io::{self, Read};

use corten_content::{Error as ContentError, Source, Verified};
use corten_layer::{Error as LayerError, Notice, Resolver, Tree};
use corten_spec::media_type::LayerCompression;
use corten_spec::{Algorithm, Descriptor, DiffId, Digest, Hasher, Kind};
use corten_tar::{DecodeLimits, Decoder, Encoding, Error as TarError, Limits, Reader};

use super::walk::{missing, unreadable};
use super::{Report, Rule, Within, chain, must, note, should};
use crate::Result;

/// What came of a layer.
pub(super) struct Checked {
    /// The tree with the layer applied, if it could be.
    pub(super) tree: Option<Tree>,
    /// Whether the blob is what its descriptor says.
    pub(super) is_verified: bool,
}

/// Reads the blob `layer` once, to its end whatever is in it, and applies it to `tree`.
///
/// Without a `DiffID` everything else is checked all the same.
pub(super) fn check_layer(
    source: &dyn Source,
    layer: &Descriptor,
    diff_id: Option<&DiffId>,
    tree: Option<Tree>,
    report: &mut Report<'_>,
) -> Result<Checked> {
    let mut blob = match corten_content::open(source, layer) {
        Ok(inner) => Blob {
            inner,
            failure: None,
        },
        Err(error) => {
            unreadable(report, error, missing())?;
            return Ok(Checked {
                tree: None,
                is_verified: false,
            });
        }
    };
    let name = diff_id
        .cloned()
        .unwrap_or_else(|| DiffId(layer.digest.clone()));
    let resolver = tree.map(|tree| Resolver::new(tree, name));
    let read = read_layer(&mut blob, resolver);
    // The digest of the blob counts whatever became of its content.
    let rest = io::copy(&mut blob, &mut io::sink());
    if let Some(error) = blob.failure {
        unreadable(report, error, missing())?;
        return Ok(Checked {
            tree: None,
            is_verified: false,
        });
    }
    debug_assert!(rest.is_ok(), "a failure is kept");
    let tree = tell(report, layer, diff_id, read);
    Ok(Checked {
        tree,
        is_verified: true,
    })
}

/// What was read of a layer.
#[derive(Default)]
struct Content {
    encoding: Option<Encoding>,
    /// The digest of the uncompressed bytes, if there are any.
    received: Option<Digest>,
    /// What refused the layer.
    refused: Option<LayerError>,
    applied: Option<(Tree, corten_layer::Report)>,
}

fn read_layer(blob: &mut (impl Read + Send), resolver: Option<Resolver>) -> Content {
    let mut decoder = match Decoder::new(Box::new(blob), DecodeLimits::default()) {
        Ok(decoder) => decoder,
        Err(error) => {
            return Content {
                refused: Some(error.into()),
                ..Content::default()
            };
        }
    };
    let encoding = Some(decoder.encoding());
    let mut tee = Tee {
        inner: &mut decoder,
        hasher: Hasher::new(Algorithm::Sha256),
    };
    let applied = apply(&mut tee, resolver);
    // What follows a broken entry belongs to the DiffID as well.
    let rest = io::copy(&mut tee, &mut io::sink());
    let (applied, refused) = match (applied, rest) {
        (Ok(applied), Ok(_)) => (applied, None),
        (Err(error), _) => (None, Some(error)),
        (Ok(_), Err(error)) => (None, Some(TarError::read(0, error).into())),
    };
    let is_whole = !matches!(
        &refused,
        Some(LayerError::Tar {
            source: TarError::Damaged { .. } | TarError::Limit { .. } | TarError::Read { .. }
        })
    );
    Content {
        encoding,
        received: is_whole.then(|| tee.hasher.finish()),
        refused,
        applied,
    }
}

fn apply(
    tar: &mut impl Read,
    mut resolver: Option<Resolver>,
) -> corten_layer::Result<Option<(Tree, corten_layer::Report)>> {
    let mut reader = Reader::new(tar, Limits::default());
    while let Some(located) = reader.next_entry()? {
        if let Some(resolver) = &mut resolver {
            resolver.apply(&located)?;
        }
    }
    reader.finish()?;
    Ok(resolver.map(Resolver::finish))
}

/// Makes findings of what was read, and returns the tree.
fn tell(
    report: &mut Report<'_>,
    layer: &Descriptor,
    diff_id: Option<&DiffId>,
    read: Content,
) -> Option<Tree> {
    if let (Some(encoding), Kind::Layer { compression, .. }) = (read.encoding, layer.kind()) {
        check_encoding(report, layer, compression, encoding);
    }
    if let (Some(expected), Some(received)) = (diff_id, &read.received)
        && expected.0 != *received
    {
        let rule = must("CFG-02").advise("a DiffID is the digest of the uncompressed tar");
        let message = format!("its DiffID is {received}, but the config says {expected}");
        report.whole(rule, message);
    }
    if let Some(error) = &read.refused {
        let (within, rule) = place_of(error);
        report.at(within, rule, chain(error));
    }
    let (tree, noticed) = read.applied?;
    for finding in &noticed.findings {
        let within = Within::Entry(finding.path.clone());
        report.at(within, rule_of(finding.what), finding.what.as_str());
    }
    let n_more = noticed
        .n_findings
        .saturating_sub(noticed.findings.len() as u64);
    if n_more > 0 {
        report.whole(
            note("LYR-25"),
            format!("{n_more} further entries are of note"),
        );
    }
    Some(tree)
}

fn check_encoding(
    report: &mut Report<'_>,
    layer: &Descriptor,
    named: LayerCompression,
    found: Encoding,
) {
    let fits = matches!(
        (named, found),
        (LayerCompression::None, Encoding::Identity)
            | (LayerCompression::Gzip, Encoding::Gzip)
            | (LayerCompression::Zstd, Encoding::Zstd)
    );
    if !fits {
        let message = format!(
            "the layer is {found}, but its type is `{}`",
            layer.media_type
        );
        let level = if matches!(found, Encoding::Xz | Encoding::Bzip2) {
            must("LYR-01")
        } else {
            should("LYR-01")
        };
        report.whole(level, message);
    }
}

fn place_of(error: &LayerError) -> (Within, Rule) {
    match error {
        LayerError::Refused { path, reason } if reason.contains("whiteout") => {
            (Within::Entry(path.clone()), must("LYR-29"))
        }
        LayerError::Refused { path, reason } if reason.contains("hard link") => {
            (Within::Entry(path.clone()), must("LYR-20"))
        }
        LayerError::Refused { path, .. } | LayerError::Loop { path } => {
            (Within::Entry(path.clone()), must("LYR-25"))
        }
        LayerError::Tar {
            source: TarError::Damaged { .. },
        } => (Within::Whole, must("LYR-01")),
        _ => (Within::Whole, must("LYR-02")),
    }
}

fn rule_of(notice: Notice) -> Rule {
    match notice {
        Notice::ParentInPath => should("LYR-71"),
        Notice::Duplicate => must("LYR-04"),
        Notice::WhiteoutOfNothing => note("LYR-39"),
        Notice::BelowWhiteout => should("LYR-31"),
        Notice::XattrDropped => note("LYR-09"),
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
