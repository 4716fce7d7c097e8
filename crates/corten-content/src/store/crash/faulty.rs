//! Files that fail, or lose what was not synced, at a chosen step.
//!
//! What is on stable storage is modelled name by name and file by file, each on its own: after a
//! power failure a directory has, of every name that was changed since it was last synced, either the
//! old or the new meaning, and a file that was not synced has any beginning of its bytes. File systems
//! promise more, such as that a rename is one step; nobody may rely on that.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::super::*;

/// What happens at the chosen step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// This one step fails, as it does on a full disk.
    DiskFull,
    /// From here on the disk is full: nothing is added, but things can be removed.
    DiskStaysFull,
    /// This one step fails, as it does on a broken disk.
    Broken,
    /// Nothing is done from here on, and what was not synced is lost.
    PowerLoses,
    /// Nothing is done from here on, and the disk kept all names but not the bytes: data and names
    /// reach it in any order.
    PowerKeepsNames,
    /// Nothing is done from here on, and some of what was not synced is lost.
    PowerMixes(u64),
}

impl Fault {
    pub(super) const ALL: [Self; 7] = [
        Self::DiskFull,
        Self::DiskStaysFull,
        Self::Broken,
        Self::PowerLoses,
        Self::PowerKeepsNames,
        Self::PowerMixes(1),
        Self::PowerMixes(2),
    ];

    fn is_of_power(self) -> bool {
        matches!(
            self,
            Self::PowerLoses | Self::PowerKeepsNames | Self::PowerMixes(_)
        )
    }
}

#[derive(Debug, Clone)]
pub(super) struct FaultyFiles {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    at_step: usize,
    n_steps: usize,
    /// Keeps what is removed or replaced, for undoing it.
    attic: PathBuf,
    /// The files, by number, whose bytes are not on stable storage.
    unsynced: HashSet<u64>,
    /// What the names stand for on stable storage that stand for something else by now.
    durable: BTreeMap<PathBuf, Durable>,
    random: u64,
}

#[derive(Debug)]
enum Durable {
    Nothing,
    File(PathBuf),
}

/// What a step needs of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Adds,
    AddsNothing,
}

const REAL: RealFiles = RealFiles(Durability::None);
const ENOSPC: i32 = 28;
const EIO: i32 = 5;

impl FaultyFiles {
    pub(super) fn new(fault: Fault, at_step: usize, attic: &Path) -> Self {
        let random = match fault {
            Fault::PowerMixes(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ at_step as u64,
            _ => 1,
        };
        let state = State {
            fault,
            at_step,
            n_steps: 0,
            attic: attic.to_owned(),
            unsynced: HashSet::new(),
            durable: BTreeMap::new(),
            random,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    fn step<T>(&self, step: Step, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.state.lock().unwrap();
        state.n_steps += 1;
        let is_here = state.n_steps == state.at_step;
        let is_past = state.n_steps >= state.at_step;
        let code = match state.fault {
            Fault::DiskFull if is_here => ENOSPC,
            Fault::DiskStaysFull if is_past && step == Step::Adds => ENOSPC,
            Fault::Broken if is_here => EIO,
            fault if fault.is_of_power() && is_past => EIO,
            _ => return act(&mut state),
        };
        Err(io::Error::from_raw_os_error(code))
    }

    pub(super) fn was_hit(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.n_steps >= state.at_step
    }

    /// Does to the disk what the end of power does to it.
    pub(super) fn lose_unsynced(&self, root: &Path) {
        let mut state = self.state.lock().unwrap();
        if !state.fault.is_of_power() {
            return;
        }
        // Directories before what is in them.
        for (path, durable) in std::mem::take(&mut state.durable) {
            let is_lost = match state.fault {
                Fault::PowerLoses => true,
                Fault::PowerMixes(_) => state.coin().is_multiple_of(2),
                _ => false,
            };
            if is_lost {
                restore(&path, durable);
            }
        }
        state.damage(root);
    }
}

fn restore(path: &Path, durable: Durable) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).ok();
    }
    if let Durable::File(kept) = durable
        && path.parent().unwrap().is_dir()
    {
        fs::hard_link(kept, path).unwrap();
    }
}

impl State {
    fn coin(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 11
    }

    /// Cuts off what did not reach the disk.
    fn damage(&mut self, dir: &Path) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                self.damage(&path);
            } else if self.unsynced.contains(&fs::metadata(&path).unwrap().ino()) {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
                let file = File::options().write(true).open(&path).unwrap();
                let len = file.metadata().unwrap().len();
                let kept = match self.fault {
                    Fault::PowerMixes(_) => self.coin() % (len + 1),
                    _ => 0,
                };
                // Many file systems have the length of a file before they have its bytes.
                file.set_len(kept).unwrap();
                if self.coin().is_multiple_of(2) {
                    file.set_len(len).unwrap();
                }
            }
        }
    }

    /// Remembers what `path` stands for, before that is changed.
    fn change(&mut self, path: &Path) {
        if self.durable.contains_key(path) {
            // What it stood for in between must live on, too: its number must not be given away.
            fs::hard_link(path, self.attic.join(crate::atomic::unique())).ok();
            return;
        }
        let kept = self.attic.join(crate::atomic::unique());
        let durable = match fs::hard_link(path, &kept) {
            Ok(()) => Durable::File(kept),
            Err(_) => Durable::Nothing,
        };
        self.durable.insert(path.to_owned(), durable);
    }
}

impl Files for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<File> {
        let step = if path.exists() {
            Step::AddsNothing
        } else {
            Step::Adds
        };
        self.step(step, |state| {
            if !path.exists() {
                state.change(path);
            }
            REAL.create(path)
        })
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8]) -> io::Result<usize> {
        self.step(Step::Adds, |state| {
            state.unsynced.insert(file.metadata()?.ino());
            // Short writes happen, too.
            let some = bytes.get(..bytes.len().div_ceil(2)).unwrap_or(bytes);
            REAL.write(file, path, some)
        })
    }

    fn sync(&self, file: &File, _: &Path) -> io::Result<()> {
        self.step(Step::AddsNothing, |state| {
            state.unsynced.remove(&file.metadata()?.ino());
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Adds, |state| {
            state.change(from);
            state.change(to);
            REAL.rename(from, to)
        })
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Adds, |state| {
            state.change(to);
            REAL.link(from, to)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(Step::AddsNothing, |state| {
            state.change(path);
            REAL.remove(path)
        })
    }

    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step(Step::Adds, |state| {
            REAL.make_dir(path)?;
            state.durable.insert(path.to_owned(), Durable::Nothing);
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.step(Step::AddsNothing, |state| {
            state.durable.retain(|name, _| name.parent() != Some(path));
            Ok(())
        })
    }
}
