//! Checking an image against the specification, from its index down to the entries of its layers.
//!
//! Everything reachable is read and checked, and what is wrong is collected rather than stopped at. A
//! finding names the requirement by its id, which [`requirement`] explains. Memory grows with the number
//! of files of one image, never with the size of a blob.

mod annotations;
mod config;
mod descriptor;
mod fields;
mod finding;
mod index;
mod layer;
mod layout;
mod lint;
mod manifest;
mod platform;
mod report;
mod requirements;
mod run;
mod uri;
mod walk;

use corten_content::Source;
use corten_spec::Descriptor;
use corten_tar::LayerLimits;

use crate::Result;

pub use finding::{Finding, Level, Place, Within};
pub use layout::validate_layout;
pub use requirements::{Requirement, Strength, requirement, requirements};

/// How much is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ValidateOptions {
    /// What is done with layers.
    pub layers: Layers,
    /// What a layer may ask for.
    pub limits: LayerLimits,
}

/// What is done with layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layers {
    /// They are read and applied: digests, `DiffIDs`, and the meaning of every entry.
    #[default]
    Read,
    /// They are left alone.
    Skip,
}

/// Checks `root`, a manifest, an index or anything else in `source`, with everything that it refers
/// to and what names it as its subject.
///
/// # Errors
/// Fails if content cannot be read for a reason that is not the content's own, such as a broken
/// connection. Whatever is wrong with the content is a finding.
pub fn validate(
    source: &dyn Source,
    root: &Descriptor,
    options: &ValidateOptions,
) -> Result<Vec<Finding>> {
    validate_all(source, std::slice::from_ref(root), options)
}

/// Checks each of `roots` as [`validate`] does; what they share is checked once.
///
/// Findings are in the order in which they were made, at most a hundred of each requirement and
/// level; see [`Finding::n_more`].
pub fn validate_all(
    source: &dyn Source,
    roots: &[Descriptor],
    options: &ValidateOptions,
) -> Result<Vec<Finding>> {
    let mut walk = walk::Walk::new(source, options);
    for root in roots {
        walk.visit(root)?;
        walk.visit_referrers(root)?;
    }
    Ok(walk.into_findings())
}
