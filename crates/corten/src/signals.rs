//! Ctrl-C and its like: what is unfinished outside the store goes before the program does.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use corten_content::unfinished;
use corten_sandbox::Cancel;
use corten_snapshot::snapshots::remove;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use crate::error::CommandError;

/// Starts to wait for the signals that tell the program to end.
///
/// Those that whoever started us had us ignore, as `nohup` and shells for jobs in the background do,
/// stay ignored. Not for `run`, which hands signals on and therefore must be the only one that gets
/// them.
pub(crate) fn watch() {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = ignored(&status);
    let wanted = [SIGHUP, SIGINT, SIGTERM];
    let wanted = wanted
        .into_iter()
        .filter(|signal| ignored & bit(*signal) == 0);
    // Without this the program ends as the system has it, and only leaves more behind.
    let Ok(mut signals) = Signals::new(wanted) else {
        return;
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            let mut signals = signals.forever();
            let Some(first) = signals.next() else {
                return;
            };
            let ending = thread::Builder::new().spawn(move || end(first));
            // Whoever asks again wants no tidiness, and without a thread there is none.
            let last = if ending.is_ok() {
                signals.next()
            } else {
                Some(first)
            };
            if let Some(last) = last {
                emulate_default_handler(last).ok();
            }
        })
        .ok();
}

/// Ends the program without a word, as the system and other programs for containers do where nobody reads what
/// they write.
///
/// The signal is ignored until then, for connections break, too, and what is unfinished has to be removed.
pub(crate) fn end_by_pipe() {
    emulate_default_handler(SIGPIPE).ok();
}

/// Has `act` done when a signal is about to end the program.
pub(crate) fn before_ending(act: impl FnOnce() + Send + 'static) {
    acts().push(Box::new(act));
}

/// How long it may take to remove what commands leave, who have ended at once: a directory of all files of
/// a stage is more than some. What is still there then is left to `gc`. A second signal waits for nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Returns what ends the commands of the build when a signal ends this program.
pub(crate) fn cancelled_by_signals() -> Result<Cancel, CommandError> {
    let cancel = Cancel::new().map_err(CommandError::caused)?;
    let heeded = cancel.clone();
    before_ending(move || heeded.cancel(PATIENCE));
    Ok(cancel)
}

/// Does not return once a signal is ending the program: what failed because of it is not the reason.
pub(crate) fn wait_if_ending() {
    while IS_ENDING.load(Ordering::SeqCst) {
        thread::park();
    }
}

static IS_ENDING: AtomicBool = AtomicBool::new(false);

fn end(signal: i32) {
    IS_ENDING.store(true, Ordering::SeqCst);
    let waiting = std::mem::take(&mut *acts());
    for act in waiting {
        act();
    }
    unfinished::remove_all(&|path: &Path| remove(path).is_ok());
    // The parent is to see what ended us.
    emulate_default_handler(signal).ok();
}

type Act = Box<dyn FnOnce() + Send>;

fn acts() -> MutexGuard<'static, Vec<Act>> {
    static ACTS: Mutex<Vec<Act>> = Mutex::new(Vec::new());
    ACTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Returns the set of ignored signals, from the text of `/proc/self/status` (proc(5)).
fn ignored(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let set = line.map(|set| u64::from_str_radix(set.trim(), 16));
    set.and_then(Result::ok).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals() {
        let status = "Name:\tx\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001003\n";
        assert_eq!(ignored(status), bit(SIGHUP) | bit(SIGINT) | bit(13));
        assert_eq!(ignored("Name:\tx\n"), 0);
    }
}
