//! Directories in the upper directory of an overlay, made before anything is mounted.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use corten_layer::{Kind, Meta, Tree};
use corten_tar::Timestamp;

use crate::{Error, Result};

/// Makes sure that the overlay of `upper` over `tree` has the directory `path`, links followed inside
/// the root; what is missing belongs to root and has the mode 0755.
///
/// A path through something that is no directory is left for whoever uses it to fail on.
pub(crate) fn make_directory(tree: &Tree, upper: &Path, path: &[u8]) -> Result<()> {
    let Some(real) = tree.real_path(path)? else {
        return Ok(());
    };
    if tree.exact(&real).is_some() {
        return Ok(());
    }
    let mut so_far = Vec::new();
    for name in real.split(|&byte| byte == b'/') {
        so_far = corten_layer::path::join(&so_far, name);
        let meta = match tree.exact(&so_far).map(|id| tree.node(id)) {
            // A directory that both have shows the upper one's attributes.
            Some(node) if matches!(node.kind, Kind::Directory(_)) => node.meta.clone(),
            Some(_) => return Ok(()),
            None => Meta::implied_directory(Timestamp::default()),
        };
        create(&upper.join(OsStr::from_bytes(&so_far)), &meta)?;
    }
    Ok(())
}

/// Makes the directory `path` with the owner and mode of `meta`, unless it is there.
pub(crate) fn create(path: &Path, meta: &Meta) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        result => result.map_err(Error::system("create", path))?,
    }
    std::os::unix::fs::chown(path, Some(meta.uid), Some(meta.gid))
        .map_err(Error::system("set the owner of", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(meta.mode))
        .map_err(Error::system("set the mode of", path))
}
