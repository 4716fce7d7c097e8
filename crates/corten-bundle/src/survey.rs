//! Looking at everything in the root of a bundle, whatever it holds.

use std::os::fd::AsFd as _;

use corten_layer::beneath::{Links, Root};
use corten_layer::path;
use corten_layer::scan::{Found, FoundKind, Xattrs, inspect, inspect_root, names};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::Result;

/// What is in a root.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Every path, the root as the empty one, sorted by component.
    pub(crate) found: Vec<(Vec<u8>, Found)>,
    /// Directories that could not be listed for want of permission.
    pub(crate) unreadable: Vec<Vec<u8>>,
    /// What is there and was left out, sorted by component, and what it is if that can be told: a mount
    /// of a server that is gone is no reason to fail.
    pub(crate) left_out: Vec<(Vec<u8>, Option<Found>)>,
}

/// Looks at everything in `root` but what `is_left_out`. No link is followed.
pub(crate) fn survey(root: &Root, is_left_out: &dyn Fn(&[u8]) -> bool) -> Result<Survey> {
    let mut survey = Survey {
        found: vec![(Vec::new(), inspect_root(root, Xattrs::Read)?)],
        unreadable: Vec::new(),
        left_out: Vec::new(),
    };
    let mut todo = vec![Vec::new()];
    while let Some(directory) = todo.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let failed = |action, path: &[u8]| {
            let shown = root.shown(path);
            move |error: Errno| corten_layer::Error::system(action, shown)(error.into())
        };
        let handle = match root.open_at(&directory, flags, Links::Refuse) {
            Err(Errno::ACCESS) => {
                survey.unreadable.push(directory);
                continue;
            }
            handle => handle.map_err(failed("open", &directory))?,
        };
        for name in names(&handle).map_err(failed("list", &directory))? {
            let path = path::join(&directory, &name);
            if is_left_out(&path) {
                let found = inspect(handle.as_fd(), &name, Xattrs::Leave);
                survey.left_out.push((path, found.ok().flatten()));
                continue;
            }
            let found = match inspect(handle.as_fd(), &name, Xattrs::Read) {
                // Whoever may list a directory may still not be allowed to look at what is in it.
                Err(Errno::ACCESS) => {
                    survey.unreadable.push(directory.clone());
                    break;
                }
                found => found.map_err(failed("examine", &path))?,
            };
            let Some(found) = found else { continue };
            if found.kind == FoundKind::Directory {
                todo.push(path.clone());
            }
            survey.found.push((path, found));
        }
    }
    sort(&mut survey.found);
    sort(&mut survey.left_out);
    Ok(survey)
}

/// Sorts paths by component.
pub(crate) fn sort<T>(paths: &mut [(Vec<u8>, T)]) {
    paths.sort_by(|left, right| path::compare(&left.0, &right.0));
}
