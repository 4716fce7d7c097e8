//! Visiting everything reachable, each document once.

use std::collections::{HashMap, HashSet};

use corten_content::graph::MAX_DEPTH;
use corten_content::{Error as ContentError, Source};
use corten_layer::Tree;
use corten_spec::{Descriptor, Digest, DocumentType, ImageConfig, Index, Kind, Manifest, Platform};

use super::config::{ConfigParts, check_config, check_platform};
use super::layer::check_layer;
use super::manifest::{ManifestParts, check_index, check_manifest};
use super::{Findings, Layers, Report, Rule, ValidateOptions, chain, must, should};
use crate::Result;

/// A validation under way.
pub(super) struct Walk<'a> {
    pub(super) source: &'a dyn Source,
    options: &'a ValidateOptions,
    pub(super) findings: Findings,
    /// What was reached, whether it is there or not.
    pub(super) reached: HashSet<Digest>,
    /// What was read to its end and is what its digest says.
    pub(super) verified: HashSet<Digest>,
    /// The platforms of images, by the digests of their manifests.
    platforms: HashMap<Digest, Option<Platform>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(source: &'a dyn Source, options: &'a ValidateOptions) -> Self {
        Self {
            source,
            options,
            findings: Findings::default(),
            reached: HashSet::new(),
            verified: HashSet::new(),
            platforms: HashMap::new(),
        }
    }

    pub(super) fn into_findings(self) -> Vec<super::Finding> {
        self.findings.into_vec()
    }

    /// Visits `root` and what it refers to.
    pub(super) fn visit(&mut self, root: &Descriptor) -> Result<()> {
        self.content(root, 0)
    }

    fn content(&mut self, content: &Descriptor, depth: usize) -> Result<()> {
        if !self.reached.insert(content.digest.clone()) {
            return Ok(());
        }
        match content.kind() {
            Kind::Index => self.index(content, depth),
            Kind::Manifest => self.manifest(content),
            Kind::Schema1 => {
                let message = "a manifest of Docker's schema 1, which registries gave up in 2024";
                let rule = must("V2S2-09").advise("push the image again with a current tool");
                self.report(content).whole(rule, message);
                Ok(())
            }
            Kind::Config | Kind::Layer { .. } | Kind::Other => self.blob(content),
        }
    }

    fn index(&mut self, content: &Descriptor, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            let message = format!("indexes are nested more than {MAX_DEPTH} deep");
            self.report(content).whole(must("LAY-18"), message);
            return Ok(());
        }
        let Some(bytes) = self.document(content, Index::LIMIT, should("LAY-13"))? else {
            return Ok(());
        };
        let entries = check_index(&mut self.report(content), content, &bytes);
        self.entries(content, entries, depth)
    }

    /// Visits the entries of an index.
    pub(super) fn entries(
        &mut self,
        index: &Descriptor,
        entries: Vec<(usize, Descriptor)>,
        depth: usize,
    ) -> Result<()> {
        for (entry_idx, entry) in entries {
            self.content(&entry, depth + 1)?;
            if let Some(Some(found)) = self.platforms.get(&entry.digest) {
                let mut report = Report::new(&mut self.findings, Some(index.digest.clone()));
                check_platform(&mut report, entry_idx, &entry, found);
            }
        }
        Ok(())
    }

    fn manifest(&mut self, content: &Descriptor) -> Result<()> {
        let Some(bytes) = self.document(content, Manifest::LIMIT, should("LAY-13"))? else {
            return Ok(());
        };
        let parts = check_manifest(&mut self.report(content), content, &bytes);
        let Some(config) = &parts.config else {
            return Ok(());
        };
        if config.kind() != Kind::Config {
            self.content(config, 0)?;
            for layer in parts.layers.iter().flatten() {
                self.content(layer, 0)?;
            }
            return Ok(());
        }
        self.reached.insert(config.digest.clone());
        let bytes = self.document(config, ImageConfig::LIMIT, missing())?;
        let config = bytes.map(|bytes| check_config(&mut self.report(config), config, &bytes));
        if let Some(config) = &config {
            self.platforms
                .insert(content.digest.clone(), config.platform.clone());
            let (n_layers, n_ids) = (parts.layers.len(), config.diff_ids.len());
            if n_layers != n_ids {
                let message =
                    format!("it has {n_layers} layers, but its config has {n_ids} DiffIDs");
                self.report(content)
                    .pointer("/layers", must("CFG-33"), message);
            }
        }
        self.layers(&parts, &config.unwrap_or_default())
    }

    /// Reads the layers of an image, base first, and applies each on top of those beneath.
    fn layers(&mut self, parts: &ManifestParts, config: &ConfigParts) -> Result<()> {
        // Once a layer could not be applied, nothing can be said about what is on top of it.
        let mut tree = Some(Tree::new());
        for (layer_idx, layer) in parts.layers.iter().enumerate() {
            let Some(layer) = layer else {
                tree = None;
                continue;
            };
            self.reached.insert(layer.digest.clone());
            let diff_id = config.diff_ids.get(layer_idx).cloned().flatten();
            let is_layer = matches!(layer.kind(), Kind::Layer { .. });
            if self.options.layers == Layers::Skip {
                continue;
            }
            if !is_layer {
                self.verify(layer)?;
                tree = None;
                continue;
            }
            let mut report = Report::new(&mut self.findings, Some(layer.digest.clone()));
            let checked = check_layer(
                self.source,
                layer,
                diff_id.as_ref(),
                tree.take(),
                &mut report,
            )?;
            tree = checked.tree;
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
            Err(error) => unreadable(&mut self.report(content), error, missing()),
        }
    }

    /// Reads a document, verified; `None`, and a finding, if it is not to be had.
    fn document(
        &mut self,
        content: &Descriptor,
        limit: u64,
        missing: Rule,
    ) -> Result<Option<Vec<u8>>> {
        match corten_content::read(self.source, content, limit) {
            Ok(bytes) => {
                self.verified.insert(content.digest.clone());
                Ok(Some(bytes))
            }
            Err(error) => {
                unreadable(&mut self.report(content), error, missing)?;
                Ok(None)
            }
        }
    }

    fn report(&mut self, content: &Descriptor) -> Report<'_> {
        Report::new(&mut self.findings, Some(content.digest.clone()))
    }
}

/// A part that an image cannot do without.
pub(super) fn missing() -> Rule {
    must("LAY-13").advise("copy the image again, or fetch the blob from where it came from")
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
        ContentError::Corrupt { source, .. } => {
            let is_length = matches!(**source, corten_spec::Error::SizeMismatch { .. });
            let id = if is_length { "DSC-05" } else { "DSC-16" };
            report.whole(must(id), source.to_string());
        }
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
