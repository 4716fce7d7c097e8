//! WORKDIR: a directory that is made if it is not there.

use corten_layer::tree::Kind;
use corten_layer::users::Owner;
use corten_layer::{Changeset, Meta, Put, Tree, path};
use corten_tar::Timestamp;

use crate::error::{StepError, StepResult};

/// Returns what must be added to `tree` so that the directory `dest` is there.
///
/// Every directory that is made belongs to `owner`, as BuildKit has it.
pub(crate) fn directories(
    tree: &Tree,
    dest: &str,
    owner: Owner,
    now: Timestamp,
    span: corten_dockerfile::Span,
) -> StepResult<Changeset> {
    let mut changes = Changeset::default();
    let blocked = || {
        StepError::at(
            span,
            format!("`{dest}` leads through something that is no directory"),
        )
    };
    // As for BuildKit, `..` takes back what is written before it, wherever that leads.
    let cleaned = path::components(dest.as_bytes()).names.join(&b'/');
    let Some(real) = tree.real_path(&cleaned)? else {
        return Err(blocked());
    };
    let mut here = Vec::new();
    for name in real
        .split(|&byte| byte == b'/')
        .filter(|name| !name.is_empty())
    {
        here = path::join(&here, name);
        match tree.lookup(&here)?.map(|id| &tree.node(id).kind) {
            Some(Kind::Directory(_)) => {}
            Some(_) => return Err(blocked()),
            None => changes.put(
                &here,
                Put::directory(Meta::new(0o755, owner.uid, owner.gid, now)),
            )?,
        }
    }
    Ok(changes)
}
