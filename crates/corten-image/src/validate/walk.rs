//! Visiting everything reachable, each document once.

use std::collections::{HashMap, HashSet};

use corten_content::graph::MAX_DEPTH;
use corten_content::{Error as ContentError, Source};
use corten_layer::Tree;
use corten_spec::{
    Bound, Descriptor, Digest, DocumentType, ImageConfig, Index, Kind, Manifest, Platform,
};

use super::annotations::Holder;
use super::config::{ConfigParts, check_config};
use super::finding::{Fault, Finding};
use super::index::{IndexEntry, IndexParts, check_index};
use super::layer::{Below, check_layer};
use super::manifest::{ManifestParts, check_manifest};
use super::platform::check_same;
use super::report::{Findings, Report, Rule, chain, must, note, should};
use super::{Layers, ValidateOptions};
use crate::Result;

/// A validation under way.
pub(super) struct Walk<'a> {
    source: &'a dyn Source,
    options: &'a ValidateOptions,
    pub(super) findings: Findings,
    /// What was reached, whether it is there or not, and the size it was said to have first.
    reached: HashMap<Digest, u64>,
    /// What was visited, as what: bytes can be one thing here and another there.
    visited: HashSet<(Digest, VisitedAs)>,
    /// What was read to its end and is what its digest says.
    pub(super) verified: HashSet<Digest>,
    /// What was learnt of manifests, by their digests.
    known: HashMap<Digest, Known>,
    /// Whether something that refers to content could not be read as it is meant to be.
    pub(super) is_incomplete: bool,
}

/// What an index is compared with that has the manifest as an entry.
struct Known {
    platform: Option<Platform>,
    artifact_type: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum VisitedAs {
    Index,
    Manifest,
    Bytes,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a dyn Source, options: &'a ValidateOptions) -> Self {
        Self {
            source,
            options,
            findings: Findings::default(),
            reached: HashMap::new(),
            visited: HashSet::new(),
            verified: HashSet::new(),
            known: HashMap::new(),
            is_incomplete: false,
        }
    }

    pub(super) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_vec()
    }

    pub(super) fn has_reached(&self, digest: &Digest) -> bool {
        self.reached.contains_key(digest)
    }

    /// Visits `root` and what it refers to.
    pub(super) fn visit(&mut self, root: &Descriptor) -> Result<()> {
        self.content(root, 0)
    }

    /// Visits what names `root` as its subject, such as its signatures.
    pub(super) fn visit_referrers(&mut self, root: &Descriptor) -> Result<()> {
        let referrers = match self.source.referrers(&root.digest) {
            Ok(referrers) => referrers,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for referrer in referrers {
            self.content(&referrer, 0)?;
            let known = self.known.get(&referrer.digest);
            let found = known.and_then(|known| known.artifact_type.as_deref());
            let said = referrer.artifact_type.as_deref();
            if let (Some(said), Some(found)) = (said, found)
                && said != found
            {
                let message = format!("the list of referrers says that it is of type `{said}`");
                let fault = Fault::differs(format!("`{said}`"), format!("`{found}`"));
                self.report(&referrer).pointer(
                    "/artifactType",
                    should("DSC-12"),
                    fault.saying(message),
                );
            }
        }
        Ok(())
    }

    fn content(&mut self, content: &Descriptor, depth: usize) -> Result<()> {
        let visited_as = match content.kind() {
            Kind::Index => VisitedAs::Index,
            Kind::Manifest => VisitedAs::Manifest,
            Kind::Schema1 | Kind::Config | Kind::Layer { .. } | Kind::Other => VisitedAs::Bytes,
        };
        self.reach(content);
        if !self.visited.insert((content.digest.clone(), visited_as)) {
            return Ok(());
        }
        match content.kind() {
            Kind::Index => self.index(content, depth),
            Kind::Manifest => self.manifest(content, depth),
            Kind::Schema1 => {
                let message =
                    "it is a manifest of Docker's schema 1, which registries gave up in 2024";
                self.report(content).whole(must("V2S2-09"), message);
                Ok(())
            }
            Kind::Config | Kind::Layer { .. } | Kind::Other => self.blob(content),
        }
    }

    /// Notes that something refers to `content`.
    fn reach(&mut self, content: &Descriptor) {
        let first = *self
            .reached
            .entry(content.digest.clone())
            .or_insert(content.size);
        if first != content.size {
            let (here, there) = (content.size, first);
            let message = format!("one descriptor says that it has {here} bytes, another {there}");
            let fault = Fault::differs(here.to_string(), there.to_string());
            self.report(content)
                .whole(must("DSC-05"), fault.saying(message));
        }
    }

    fn index(&mut self, content: &Descriptor, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            let message = format!("indexes are nested more than {MAX_DEPTH} deep");
            self.report(content).whole(must("LAY-18"), message);
            return Ok(());
        }
        let Some(bytes) = self.document(content, Index::limit(), sparse())? else {
            return Ok(());
        };
        let mut report = self.report(content);
        let parts = check_index(&mut report, content, &bytes, Holder::Other);
        let is_broken = report.is_broken;
        self.is_incomplete |= is_broken;
        let known = Known {
            platform: None,
            artifact_type: parts.artifact_type.clone(),
        };
        self.known.insert(content.digest.clone(), known);
        self.index_parts(parts, depth, &|findings| {
            Report::of(findings, content.digest.clone())
        })
    }

    /// Visits what an index refers to; `report` makes the report of the index itself.
    pub(super) fn index_parts(
        &mut self,
        parts: IndexParts,
        depth: usize,
        report: &dyn for<'f> Fn(&'f mut Findings) -> Report<'f>,
    ) -> Result<()> {
        self.subject(parts.subject.as_ref(), depth)?;
        for IndexEntry {
            number,
            descriptor: entry,
            has_platform,
        } in parts.entries
        {
            self.content(&entry, depth + 1)?;
            let Some(known) = self.known.get(&entry.digest) else {
                continue;
            };
            let mut report = report(&mut self.findings);
            match &known.platform {
                Some(platform) if has_platform => {
                    check_same(&mut report, number, &entry, platform);
                }
                Some(_) => {
                    let at = format!("/manifests/{number}");
                    let fault = Fault::missing("`platform`");
                    let message = "the entry of an image does not say which platform it is for";
                    report.pointer(&at, note("DSC-13"), fault.saying(message));
                }
                None => {}
            }
            let (said, found) = (entry.artifact_type.as_ref(), known.artifact_type.as_ref());
            if let (Some(said), Some(found)) = (said, found)
                && said != found
            {
                let at = format!("/manifests/{number}/artifactType");
                let fault = Fault::differs(format!("`{said}`"), format!("`{found}`"));
                report.pointer(&at, should("DSC-12"), fault);
            }
        }
        Ok(())
    }

    /// Visits what a document says something about. It need not be here (MAN-24, IDX-18).
    fn subject(&mut self, subject: Option<&Descriptor>, depth: usize) -> Result<()> {
        let Some(subject) = subject.filter(|subject| subject.kind().has_children()) else {
            return Ok(());
        };
        if depth > MAX_DEPTH {
            return Ok(());
        }
        match self.source.fetch(subject, 0) {
            Ok(_) => self.content(subject, depth + 1),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn manifest(&mut self, content: &Descriptor, depth: usize) -> Result<()> {
        let Some(bytes) = self.document(content, Manifest::limit(), sparse())? else {
            return Ok(());
        };
        let mut report = self.report(content);
        let parts = check_manifest(&mut report, content, &bytes);
        let is_broken = report.is_broken;
        self.is_incomplete |= is_broken;
        let mut known = Known {
            platform: None,
            artifact_type: parts.artifact_type.clone(),
        };
        match &parts.config {
            Some(config) if config.kind() == Kind::Config => {
                known.platform = self.image(content, config, &parts)?;
            }
            Some(config) => {
                self.content(config, 0)?;
                for layer in parts.layers.iter().flatten() {
                    self.content(layer, 0)?;
                }
            }
            None => {}
        }
        self.known.insert(content.digest.clone(), known);
        self.subject(parts.subject.as_ref(), depth)
    }

    /// Checks config and layers of an image against each other, and returns its platform.
    fn image(
        &mut self,
        content: &Descriptor,
        config: &Descriptor,
        parts: &ManifestParts,
    ) -> Result<Option<Platform>> {
        self.reach(config);
        let bytes = self.document(config, ImageConfig::limit(), missing())?;
        let config = bytes.and_then(|bytes| check_config(&mut self.report(config), config, &bytes));
        let is_artifact = |layer: &Option<Descriptor>| {
            let kind = layer.as_ref().map(Descriptor::kind);
            kind.is_some_and(|kind| !matches!(kind, Kind::Layer { .. }))
        };
        // An artifact that borrows the type of image configs has no layers that could have DiffIDs.
        let is_artifact = !parts.layers.is_empty() && parts.layers.iter().all(is_artifact);
        if let Some(config) = config.as_ref().filter(|_| !is_artifact) {
            let (n_layers, n_ids) = (parts.layers.len(), config.diff_ids.len());
            if n_layers != n_ids {
                let message =
                    format!("it has {n_layers} layers, but its config has {n_ids} DiffIDs");
                let fault = Fault::differs(n_layers.to_string(), n_ids.to_string());
                self.report(content)
                    .pointer("/layers", must("CFG-33"), fault.saying(message));
            }
        }
        let config = config.unwrap_or_default();
        self.layers(parts, &config)?;
        Ok(config.platform)
    }

    /// Reads the layers of an image, base first, and applies each on top of those beneath.
    fn layers(&mut self, parts: &ManifestParts, config: &ConfigParts) -> Result<()> {
        let mut below = Below {
            tree: Tree::new(),
            is_known: true,
        };
        for (layer_idx, layer) in parts.layers.iter().enumerate() {
            let Some(layer) = layer else {
                below = Below::unknown();
                continue;
            };
            self.reach(layer);
            if self.options.layers == Layers::Skip {
                continue;
            }
            if !matches!(layer.kind(), Kind::Layer { .. }) {
                self.content(layer, 0)?;
                below = Below::unknown();
                continue;
            }
            let diff_id = config.diff_ids.get(layer_idx).cloned().flatten();
            let mut report = Report::of(&mut self.findings, layer.digest.clone());
            let checked = check_layer(
                self.source,
                (layer, &self.options.limits),
                diff_id.as_ref(),
                below,
                &mut report,
            )?;
            below = checked.tree;
            if checked.is_verified {
                self.verified.insert(layer.digest.clone());
            }
        }
        Ok(())
    }

    /// Reads content that nothing more is known about.
    fn blob(&mut self, content: &Descriptor) -> Result<()> {
        match (content.kind(), self.options.layers) {
            (Kind::Layer { .. }, Layers::Skip) => Ok(()),
            _ => self.verify(content),
        }
    }

    fn verify(&mut self, content: &Descriptor) -> Result<()> {
        let read = corten_content::open(self.source, content).and_then(|mut reader| {
            std::io::copy(&mut reader, &mut std::io::sink())
                .map_err(|error| ContentError::stream(format!("read `{}`", content.digest), error))
        });
        match read {
            Ok(_) => {
                self.verified.insert(content.digest.clone());
                Ok(())
            }
            Err(error) => unreadable(&mut self.report(content), error, missing_of(content)),
        }
    }

    /// Reads a document, verified; `None`, and a finding, if it is not to be had.
    fn document(
        &mut self,
        content: &Descriptor,
        limit: Bound,
        missing: Rule,
    ) -> Result<Option<Vec<u8>>> {
        match corten_content::read(self.source, content, limit) {
            Ok(bytes) => {
                self.verified.insert(content.digest.clone());
                Ok(Some(bytes))
            }
            Err(error) => {
                unreadable(&mut self.report(content), error, missing)?;
                self.is_incomplete = true;
                Ok(None)
            }
        }
    }

    fn report(&mut self, content: &Descriptor) -> Report<'_> {
        Report::of(&mut self.findings, content.digest.clone())
    }
}

/// A part that an image cannot do without.
fn missing() -> Rule {
    must("LAY-13")
}

/// A manifest of an index: indexes may be sparse.
fn sparse() -> Rule {
    should("LAY-13").advise("expected of a sparse index; else copy the image with all platforms")
}

/// What to say where `content` is missing: layers that may not be distributed often are.
pub(super) fn missing_of(content: &Descriptor) -> Rule {
    match content.kind() {
        Kind::Layer { foreign: true, .. } => {
            note("LAY-13").advise("fetch the layer from the URLs in its descriptor")
        }
        _ => missing(),
    }
}

/// Makes a finding of content that could not be read, unless the reason is not the content's own.
pub(super) fn unreadable(
    report: &mut Report<'_>,
    error: ContentError,
    missing: Rule,
) -> Result<()> {
    if error.is_not_found() {
        report.whole(missing, "it is referred to but not here");
        return Ok(());
    }
    match &error {
        ContentError::Corrupt { source, .. } => match &**source {
            corten_spec::Error::SizeMismatch {
                expected, received, ..
            } => {
                let fault =
                    Fault::differs(format!("{received} bytes"), format!("{expected} bytes"));
                let message =
                    format!("it has {received} bytes, but its descriptor says {expected}");
                report.whole(must("DSC-05"), fault.saying(message));
            }
            corten_spec::Error::DigestMismatch { expected, received } => {
                let fault = Fault::differs(format!("`{received}`"), format!("`{expected}`"));
                report.whole(must("DSC-16"), fault.saying(source.to_string()));
            }
            _ => report.whole(must("DSC-16"), source.to_string()),
        },
        ContentError::Invalid { source, .. } => match **source {
            corten_spec::Error::UnsupportedAlgorithm { .. } => {
                report.whole(should("DSC-15"), source.to_string());
            }
            corten_spec::Error::TooLarge { .. } => {
                report.whole(must("CNS-09"), source.to_string());
            }
            _ => report.whole(must("CNS-04"), chain(&error)),
        },
        _ => return Err(error.into()),
    }
    Ok(())
}
