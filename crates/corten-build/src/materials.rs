//! What a build was made of: what its steps left, and what came from elsewhere.

use std::sync::PoisonError;

use corten_dockerfile::without_credentials;
use corten_snapshot::LayerRef;
use corten_spec::{Digest, Platform};

use crate::Result;
use crate::base::Named;
use crate::build::Builder;
use crate::packing::{Layer, packed};
use crate::sources::Sources;
use crate::stage::Stage;
use crate::steps::Task;

/// What a step left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltStep {
    /// The line of the Dockerfile that it begins on, from 1; that of FROM for a trigger of an image.
    pub line: usize,
    /// Its number in the stage, from 1.
    pub number: usize,
    /// Its stage: the name, or the number.
    pub stage: String,
    /// The instruction as the Dockerfile has it, without passwords.
    pub text: String,
    /// All layers of the stage after the step, lowest first.
    pub layers: Vec<LayerRef>,
}

/// Something that came from elsewhere, and what it was found to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Material {
    /// An image.
    Image {
        /// Its name in the Dockerfile.
        name: String,
        /// Its reference, normalised, if it is one of a registry.
        reference: Option<String>,
        /// What it resolved to: the digest of the index, where there is one.
        digest: Digest,
        /// What it was wanted for.
        platform: String,
    },
    /// A file by HTTP.
    Http {
        /// Its address, without any password.
        url: String,
        /// The digest of the file.
        digest: Digest,
    },
    /// A tree of a git repository.
    Git {
        /// The repository, without any password.
        remote: String,
        /// The branch, tag or commit that was asked for.
        reference: Option<String>,
        /// The commit.
        commit: String,
    },
}

/// What a step left, whose layers may still be on their way.
#[derive(Debug)]
pub(crate) struct NotedStep {
    step: BuiltStep,
    layers: Vec<Layer>,
}

impl Builder<'_> {
    /// Notes what a step left.
    pub(crate) fn note_step(&self, stage: &Stage, task: &Task<'_>) {
        let step = BuiltStep {
            line: task.span().line,
            number: task.number,
            stage: task.stage.to_owned(),
            text: without_credentials(&task.instruction.original),
            layers: Vec::new(),
        };
        let layers = stage.layers.clone();
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push(NotedStep { step, layers });
    }

    /// Returns what the steps left. A stage uses only those above it, so that what differs between two
    /// builds differs first where it began.
    pub(crate) fn built_steps(&self) -> Result<Vec<BuiltStep>> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = steps.iter().map(|noted| {
            Ok(BuiltStep {
                layers: packed(&noted.layers)?,
                ..noted.step.clone()
            })
        });
        let mut steps = whole.collect::<Result<Vec<_>>>()?;
        steps.sort_by_key(|step| (step.line, step.number));
        Ok(steps)
    }
}

impl Sources<'_> {
    /// Returns what was found so far.
    pub(crate) fn materials(&self) -> Vec<Material> {
        let images = self.found.all().into_iter().filter_map(|(key, named)| {
            let (name, platform) = key;
            match named? {
                Named::Image(image) => Some(Material::Image {
                    name,
                    reference: image.reference.clone(),
                    digest: image.digest.clone(),
                    platform: Platform::to_string(&platform),
                }),
                Named::Directory { .. } | Named::Scratch => None,
            }
        });
        let downloads = self.downloads.all().into_iter();
        let files = downloads.map(|(url, download)| Material::Http {
            url: without_credentials(&url),
            digest: download.digest,
        });
        let checked = self.checked.all().into_iter();
        let checked = checked.map(|((url, digest), ())| Material::Http {
            url: without_credentials(&url),
            digest,
        });
        let commits = self.commits.all().into_iter();
        let trees = commits.map(|([remote, reference, _], found)| Material::Git {
            remote: without_credentials(&remote),
            reference: Some(reference).filter(|reference| !reference.is_empty()),
            commit: found.commit,
        });
        let mut all: Vec<_> = images.chain(files).chain(checked).chain(trees).collect();
        all.sort();
        all.dedup();
        all
    }
}
