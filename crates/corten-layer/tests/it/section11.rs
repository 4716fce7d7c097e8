//! What every layer that we write obeys (layers.md section 11).

use std::collections::HashMap;

use corten_layer::path::{NameKind, classify, compare, components, join, split};
use corten_layer::{Shown, Tree};
use corten_tar::{EntryKind, Located};

/// Checks a layer on top of `lower`.
#[track_caller]
pub(crate) fn check(lower: &Tree, entries: &[Located]) {
    let mut seen: HashMap<Vec<u8>, EntryKind> = HashMap::new();
    let mut deleted: Vec<Vec<u8>> = Vec::new();
    let mut last: Option<(Vec<u8>, Vec<u8>)> = None;
    let mut latest: Option<Vec<u8>> = None;
    for Located { entry, .. } in entries {
        let shown = Shown::from(entry.path.as_slice());
        let path = components(&entry.path).names.join(&b'/');
        let (directory, name) = split(&path);
        let is_directory = entry.kind == EntryKind::Directory;
        assert_eq!(is_directory, entry.path.ends_with(b"/"), "{shown}: slash");
        assert!(!seen.contains_key(&path), "{shown}: twice (rule 91)");
        assert!(
            directory.is_empty() || seen.get(directory) == Some(&EntryKind::Directory),
            "{shown}: its directory has no entry (rule 84)"
        );
        match classify(name) {
            NameKind::Content(_) => {
                if let Some(latest) = &latest {
                    let order = compare(latest, &path);
                    assert!(order.is_lt(), "{shown}: order (rule 83)");
                }
                latest = Some(path.clone());
                last = Some((path.clone(), Vec::new()));
            }
            NameKind::Whiteout(name) => {
                let gone = join(directory, name);
                assert!(lower.exact(&gone).is_some(), "{shown}: nothing (rule 85)");
                let (of, previous) = last.clone().unwrap_or_default();
                assert_eq!(of, directory, "{shown}: not right after it (rule 83)");
                assert!(previous.as_slice() < name, "{shown}: order of whiteouts");
                last = Some((of, name.to_vec()));
                assert_eq!((entry.kind, entry.size), (EntryKind::File, 0));
                deleted.push(gone);
            }
            other => panic!("{shown}: {other:?} (rule 86)"),
        }
        if entry.kind == EntryKind::HardLink {
            let target = entries
                .iter()
                .map(|located| &located.entry)
                .find(|target| target.path == entry.link)
                .unwrap_or_else(|| panic!("{shown}: its target is not here (rule 88)"));
            assert!(seen.contains_key(&entry.link), "{shown}: before its target");
            assert_ne!(target.kind, EntryKind::HardLink, "{shown}: of a link");
            let attributes =
                |entry: &corten_tar::Entry| (entry.mode, entry.uid, entry.gid, entry.mtime);
            assert_eq!(attributes(entry), attributes(target), "{shown}: rule 88");
        }
        seen.insert(path, entry.kind);
    }
    for gone in deleted {
        for path in seen.keys() {
            assert!(
                !corten_layer::path::is_within(path, &gone),
                "{}: deleted and written (rule 85)",
                Shown::from(gone.as_slice())
            );
        }
    }
}
