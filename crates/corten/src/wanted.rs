//! Which platform's image is wanted, and whether another would do.

use corten_content::{Error, Result, Source, load, resolve_manifest};
use corten_spec::{Descriptor, Document, ImageConfig, Kind, Manifest, Platform};

/// The platform that an image is chosen for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// What it is to run on.
    pub(crate) platform: Platform,
    /// Whether the user named the platform, so that an image for another is an error even where there
    /// is nothing to choose.
    pub(crate) is_asked: bool,
}

impl Wanted {
    /// Returns what `--platform` asks for: what is for this machine, if it was not given.
    pub(crate) fn asked(platform: Option<&Platform>) -> Self {
        Self {
            platform: platform.cloned().unwrap_or_else(Platform::host),
            is_asked: platform.is_some(),
        }
    }

    /// Returns what is chosen where there is something to choose from.
    pub(crate) fn preferred(platform: &Platform) -> Self {
        Self {
            platform: platform.clone(),
            is_asked: false,
        }
    }

    /// Returns the manifest of `content`, a manifest or an index, that is wanted.
    ///
    /// # Errors
    /// Fails where an index has none, and on a manifest whose config is for another platform than the
    /// user named. Artifacts have no platform, and pass.
    pub(crate) fn manifest(
        &self,
        source: &dyn Source,
        content: &Descriptor,
    ) -> Result<Document<Manifest>> {
        let manifest = resolve_manifest(source, content, &self.platform)?;
        let is_selected = content.kind() == Kind::Index && manifest.descriptor.platform.is_some();
        let config = &manifest.value.config;
        if self.is_asked && !is_selected && config.kind() == Kind::Config {
            let config: Document<ImageConfig> = load(source, config)?;
            self.require(&config.value, &source.place())?;
        }
        Ok(manifest)
    }

    /// Fails if the image in `place` that has `config` does not run on what is wanted.
    pub(crate) fn require(&self, config: &ImageConfig, place: &str) -> Result<()> {
        let offered = config.platform();
        if runs_on(&self.platform, &offered) {
            return Ok(());
        }
        Err(Error::NoPlatform {
            wanted: Box::new(self.platform.clone()),
            name: place.to_owned(),
            offered: vec![offered.to_string()],
        })
    }
}

/// Tells whether a single image that was named may be used: one for a higher variant than is usual is,
/// unless a variant was asked for.
fn runs_on(wanted: &Platform, offered: &Platform) -> bool {
    let wanted = wanted.normalized();
    let any_variant = Platform {
        variant: wanted.variant.clone(),
        ..offered.clone()
    };
    wanted.runs(offered) || (wanted.variant.is_none() && wanted.runs(&any_variant))
}
