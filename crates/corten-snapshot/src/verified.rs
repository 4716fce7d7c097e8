//! Blobs that pieces are read of: each is hashed once, and again when it is not the same file any more.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use corten_content::store::verify_blob;

use crate::snapshots::{Shelf, boot};
use crate::{Error, LayerRef, Result, Snapshots};

impl Snapshots<'_> {
    /// Makes sure that the blob of `layer` has the bytes that its digest promises: whoever reads a piece
    /// of it cannot tell. All of it is hashed, unless that was done in this boot and nothing has touched
    /// the file since.
    pub(crate) fn check_blob(&self, layer: &LayerRef) -> Result<()> {
        self.bring(layer)?;
        let path = self.store().blob_path(&layer.blob.digest);
        let marker = self.blob_marker(layer)?;
        if fs::read(marker).is_ok_and(|found| stamp(&path).is_ok_and(|stamp| found == stamp)) {
            return Ok(());
        }
        match verify_blob(&path) {
            Ok(_) => self.mark_blob(layer),
            Err(error) if error.is_corrupt() => Err(Error::DamagedBlob {
                digest: layer.blob.digest.clone(),
                source: Box::new(error.into()),
            }),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes that all of the blob of `layer` was just verified.
    pub(crate) fn mark_blob(&self, layer: &LayerRef) -> Result<()> {
        let stamp = stamp(&self.store().blob_path(&layer.blob.digest))?;
        let (marker, temporary) = (self.blob_marker(layer)?, self.unfinished()?);
        #[expect(
            clippy::disallowed_methods,
            reason = "a temporary name, renamed when it is whole"
        )]
        fs::write(&*temporary, stamp).map_err(Error::system("write", &*temporary))?;
        temporary.rename(&marker)
    }

    fn blob_marker(&self, layer: &LayerRef) -> Result<std::path::PathBuf> {
        let seek = self.place(Shelf::Seek, &layer.diff_id.0)?;
        Ok(seek.with_extension("boot"))
    }
}

/// Returns what tells the file from itself after a change, and this boot from others: what a power
/// failure took is not seen by its times.
fn stamp(path: &Path) -> Result<Vec<u8>> {
    let metadata = fs::metadata(path).map_err(Error::system("read", path))?;
    let file = format!(
        "{} {} {}.{:09}",
        metadata.ino(),
        metadata.size(),
        metadata.ctime(),
        metadata.ctime_nsec()
    );
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    Ok([&boot()[..], file.as_bytes(), b" ", name].concat())
}
