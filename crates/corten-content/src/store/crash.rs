//! What is left when any one step fails, when the disk is full, and when the power goes.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use corten_spec::{Manifest, document, media_type};

use super::*;
use crate::{CopyOptions, Memory, copy, read, walk};

/// What happens at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// This one step fails, as it does on a full disk.
    DiskFull,
    /// Nothing is done from here on, and what was not synced is lost.
    PowerLoses,
    /// Nothing is done from here on, and the disk kept all names but not the bytes: data and names
    /// reach it in any order.
    PowerKeepsNames,
}

/// Files that count the steps, and remember what is not on stable storage yet.
#[derive(Debug, Clone)]
struct FaultyFiles {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    at_step: usize,
    n_steps: usize,
    /// Keeps what is removed or replaced, for undoing it.
    attic: PathBuf,
    unsynced_data: HashSet<PathBuf>,
    unsynced_names: Vec<(PathBuf, Change)>,
}

#[derive(Debug)]
enum Change {
    Created(PathBuf),
    Made(PathBuf),
    Renamed(PathBuf, PathBuf, Option<PathBuf>),
    Removed(PathBuf, PathBuf),
}

const REAL: RealFiles = RealFiles(Durability::None);

impl FaultyFiles {
    fn new(fault: Fault, at_step: usize, attic: &Path) -> Self {
        let state = State {
            fault,
            at_step,
            n_steps: 0,
            attic: attic.to_owned(),
            unsynced_data: HashSet::new(),
            unsynced_names: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn step<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap();
        state.n_steps += 1;
        match state.fault {
            Fault::DiskFull if state.n_steps == state.at_step => {
                Err(io::Error::from_raw_os_error(28))
            }
            Fault::PowerLoses | Fault::PowerKeepsNames if state.n_steps >= state.at_step => {
                Err(io::Error::from_raw_os_error(5))
            }
            _ => act(&mut state),
        }
    }

    fn was_hit(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.n_steps >= state.at_step
    }

    /// Does to the disk what the end of power does to it.
    fn lose_unsynced(&self) {
        let mut state = self.state.lock().unwrap();
        if state.fault == Fault::DiskFull {
            return;
        }
        if state.fault == Fault::PowerLoses {
            for (_, change) in std::mem::take(&mut state.unsynced_names).into_iter().rev() {
                state.undo(change);
            }
        }
        for path in &state.unsynced_data {
            if path.exists() {
                fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
                File::options()
                    .write(true)
                    .open(path)
                    .unwrap()
                    .set_len(0)
                    .unwrap();
            }
        }
    }
}

impl State {
    fn rename_key(&mut self, from: &Path, to: &Path) {
        self.unsynced_data.remove(to);
        if self.unsynced_data.remove(from) {
            self.unsynced_data.insert(to.to_owned());
        }
    }

    fn undo(&mut self, change: Change) {
        match change {
            Change::Created(path) => drop(fs::remove_file(path)),
            Change::Made(path) => drop(fs::remove_dir_all(path)),
            Change::Renamed(from, to, old) => {
                if to.exists() {
                    fs::rename(&to, &from).unwrap();
                    self.rename_key(&to, &from);
                }
                if let Some(old) = old {
                    fs::rename(old, to).unwrap();
                }
            }
            Change::Removed(path, kept) => drop(fs::rename(kept, path)),
        }
    }

    /// Gives `path` a second name where nobody looks.
    fn keep(&self, path: &Path) -> Option<PathBuf> {
        let kept = self.attic.join(crate::atomic::unique());
        fs::hard_link(path, &kept).ok().map(|()| kept)
    }

    fn changed(&mut self, path: &Path, change: Change) {
        let dir = path.parent().unwrap().to_owned();
        self.unsynced_names.push((dir, change));
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.step(|state| {
            let is_new = !path.exists();
            let file = REAL.create(path)?;
            if is_new {
                state.changed(path, Change::Created(path.to_owned()));
            }
            Ok(file)
        })
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8]) -> io::Result<usize> {
        self.step(|state| {
            state.unsynced_data.insert(path.to_owned());
            REAL.write(file, path, bytes)
        })
    }

    fn sync(&self, _: &File, path: &Path) -> io::Result<()> {
        self.step(|state| {
            state.unsynced_data.remove(path);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| {
            let old = state.keep(to);
            REAL.rename(from, to)?;
            state.rename_key(from, to);
            let change = Change::Renamed(from.to_owned(), to.to_owned(), old);
            state.changed(to, change);
            Ok(())
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|state| {
            REAL.link(from, to)?;
            if state.unsynced_data.contains(from) {
                state.unsynced_data.insert(to.to_owned());
            }
            state.changed(to, Change::Created(to.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            let kept = state.keep(path);
            REAL.remove(path)?;
            if let Some(kept) = kept {
                state.changed(path, Change::Removed(path.to_owned(), kept));
            }
            Ok(())
        })
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            REAL.make_dir(path)?;
            state.changed(path, Change::Made(path.to_owned()));
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(|state| {
            state.unsynced_names.retain(|(dir, _)| dir != path);
            Ok(())
        })
    }
}

/// Makes an image of three blobs and returns its manifest's descriptor.
fn image(source: &Memory, text: &str) -> Descriptor {
    let config = source.add(media_type::OCI_EMPTY, b"{}");
    let layer = source.add("text/plain", text.repeat(1000).as_bytes());
    let manifest = document::to_bytes(&Manifest::oci(config, vec![layer]));
    source.add(media_type::OCI_MANIFEST, &manifest)
}

fn import(store: &Store, source: &Memory, image: &Descriptor, name: &str) -> Result<()> {
    // One job, so that a step's number always means the same.
    let options = CopyOptions {
        jobs: 1,
        ..CopyOptions::default()
    };
    copy(source, store, image, &options)?;
    store.tag(name, image)
}

/// Checks that every name leads to whole content, and returns the names.
#[track_caller]
fn check_visible(store: &Store, context: &str) -> HashMap<String, Descriptor> {
    let images = store
        .list()
        .unwrap_or_else(|error| panic!("{context}: {error}"));
    for image in &images {
        walk(store, &image.descriptor, &mut |content| {
            read(store, content, 1 << 20).map(drop)
        })
        .unwrap_or_else(|error| panic!("{context}: {}: {error:?}", image.name));
    }
    for path in store.blobs().unwrap() {
        verify_blob(&path).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    }
    images
        .into_iter()
        .map(|image| (image.name, image.descriptor.bare()))
        .collect()
}

const FIRST: &str = "docker.io/library/first:latest";
const SECOND: &str = "docker.io/library/second:latest";

/// Imports into a store in which one image is, with `fault` at each step in turn.
fn at_every_step(fault: Fault) {
    let source = Memory::new();
    let (old, new) = (image(&source, "old "), image(&source, "new "));
    for at_step in 1.. {
        let (root, attic) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let context = format!("{fault:?} at step {at_step}");
        let store = Store::open_with(root.path(), Durability::None).unwrap();
        import(&store, &source, &old, FIRST).unwrap();
        drop(store);

        let files = FaultyFiles::new(fault, at_step, attic.path());
        let mut n_done = 0;
        let imported = Store::open_files(root.path(), Box::new(files.clone())).and_then(|store| {
            import(&store, &source, &new, SECOND)?;
            n_done = 1;
            store.tag(FIRST, &new)?;
            n_done = 2;
            Ok(())
        });
        files.lose_unsynced();

        let store = Store::open_with(root.path(), Durability::None).unwrap();
        let names = check_visible(&store, &context);
        let first = names.get(FIRST).expect(&context);
        // What was reported as done is there, whatever came after it.
        assert!(n_done < 1 || names.get(SECOND) == Some(&new), "{context}");
        assert!(*first == new || (n_done < 2 && *first == old), "{context}");
        if !files.was_hit() {
            imported.unwrap();
            assert!(at_step > 15, "the import has {at_step} steps");
            return;
        }
        if let Err(error) = &imported {
            check_message(fault, error);
        }
        // Whatever was left behind, it is in nobody's way.
        import(&store, &source, &new, SECOND)
            .unwrap_or_else(|error| panic!("{context}: {error:?}"));
        assert_eq!(check_visible(&store, &context).get(SECOND), Some(&new));
        drop(store);
        let store = Store::open_with(root.path(), Durability::None).unwrap();
        let report = store.gc(&crate::GcRoots::default()).unwrap();
        assert_eq!(report.problems.len(), 0, "{context}");
        assert_eq!(check_visible(&store, &context).len(), 2, "{context}");
        assert_eq!(list_dir(&root.path().join("ingest")).unwrap().len(), 0);
    }
}

fn check_message(fault: Fault, error: &Error) {
    let mut chain = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        chain = format!("{chain}: {error}");
        cause = error.source();
    }
    if fault == Fault::DiskFull {
        assert!(chain.contains("No space left on device"), "{chain}");
    }
    assert!(chain.contains("cannot "), "{chain}");
}

#[test]
fn a_full_disk_at_every_step_shows_nothing_half_done() {
    at_every_step(Fault::DiskFull);
}

#[test]
fn power_loss_at_every_step_shows_nothing_half_done() {
    at_every_step(Fault::PowerLoses);
    at_every_step(Fault::PowerKeepsNames);
}

#[test]
fn a_fault_while_the_store_is_made_does_not_break_it() {
    for fault in [Fault::DiskFull, Fault::PowerLoses, Fault::PowerKeepsNames] {
        for at_step in 1.. {
            let (root, attic) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let path = root.path().join("a/b/store");
            let files = FaultyFiles::new(fault, at_step, attic.path());
            let opened = Store::open_files(&path, Box::new(files.clone()));
            files.lose_unsynced();
            let store = Store::open_with(&path, Durability::None)
                .unwrap_or_else(|error| panic!("{fault:?} at step {at_step}: {error:?}"));
            assert_eq!(store.list().unwrap(), []);
            if !files.was_hit() {
                opened.unwrap();
                break;
            }
        }
    }
}
