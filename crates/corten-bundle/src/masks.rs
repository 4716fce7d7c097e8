//! Paths of a bundle that are never put into a layer: what belongs to the container, not the image.

use std::path::Path;

use corten_layer::{Tree, path};
use corten_spec::ImageConfig;

use crate::{Error, Result};

/// Where every container has the kernel's own file systems, and runtimes leave mount points (rule 97).
const ALWAYS: [&[u8]; 3] = [b"dev", b"proc", b"sys"];

/// Paths that are left as the image has them, with everything in them.
#[derive(Debug)]
pub(crate) struct Masks(Vec<Vec<u8>>);

impl Masks {
    /// Returns the masks of a container of `image`, whose files are `tree`: those of every container,
    /// `more`, and the image's volumes if `volumes` says so (CNV-31).
    pub(crate) fn new(
        image: &ImageConfig,
        tree: &Tree,
        more: &[String],
        volumes: VolumeMasks,
    ) -> Result<Self> {
        let mut masks: Vec<Vec<u8>> = ALWAYS.iter().map(|path| path.to_vec()).collect();
        let volumes = match volumes {
            VolumeMasks::Mask => Some(&image.config.volumes.0),
            VolumeMasks::Leave => None,
        };
        for given in volumes.into_iter().flatten().chain(more) {
            // What is mounted lies where links lead, inside the root.
            let real = tree.real_path(given.as_bytes())?;
            let real = real.filter(|real| !real.is_empty() && Path::new(given).is_absolute());
            masks.push(real.ok_or_else(|| Error::InvalidMask {
                path: given.clone(),
            })?);
        }
        masks.sort_by(|left, right| path::compare(left, right));
        masks.dedup();
        Ok(Self(masks))
    }

    pub(crate) fn covers(&self, path: &[u8]) -> bool {
        self.0.iter().any(|mask| path::is_within(path, mask))
    }

    /// Tells whether a name in `directory` is masked.
    pub(crate) fn are_in(&self, directory: &[u8]) -> bool {
        self.0.iter().any(|mask| path::split(mask).0 == directory)
    }
}

/// What becomes of the volumes that an image declares when it is packed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeMasks {
    /// They are left as the image has them.
    Mask,
    /// Their content is packed like any other.
    Leave,
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_spec::Platform;

    #[test]
    fn what_is_covered() {
        #[track_caller]
        fn check(masks: &Masks, path: &str, expected: bool) {
            assert_eq!(masks.covers(path.as_bytes()), expected, "{path}");
        }
        let mut image = ImageConfig::scratch(&Platform::new("linux", "amd64"));
        image.config.volumes.0 = ["/data/".to_owned()].into();
        let more = ["/var/../var/cache".to_owned()];
        let masks = Masks::new(&image, &Tree::new(), &more, VolumeMasks::Mask).unwrap();
        for path in [
            "proc",
            "proc/1",
            "sys",
            "dev/null",
            "data",
            "data/x",
            "var/cache/y",
        ] {
            check(&masks, path, true);
        }
        for path in ["", "process", "var", "database", "srv/dev"] {
            check(&masks, path, false);
        }
        assert!(masks.are_in(b"") && masks.are_in(b"var") && !masks.are_in(b"srv"));
        let masks = Masks::new(&image, &Tree::new(), &[], VolumeMasks::Leave).unwrap();
        check(&masks, "data", false);
        for wrong in ["/", "relative", "/.."] {
            let more = [wrong.to_owned()];
            let error = Masks::new(&image, &Tree::new(), &more, VolumeMasks::Leave).unwrap_err();
            assert!(error.to_string().contains(wrong), "{error}");
        }
    }
}
