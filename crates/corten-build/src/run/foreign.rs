//! Commands for other systems and processors: refused before anything runs, where nothing runs them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use corten_content::Store;
use corten_dockerfile::{Instruction, Kind, Plan};
use corten_sandbox::{Missing, Runs, emulation};
use corten_spec::Platform;

use crate::build::Builder;
use crate::caches::Caches;
use crate::event::Event;
use crate::request::CacheUse;
use crate::{BuildRequest, Error, Result};

/// Refuses the stages of `plan` whose commands nothing here can run.
///
/// A cache may know what a command makes, and then it needs no emulator: with one elsewhere that knows
/// anything, or where results for the platform were used here before, commands for other processors are
/// refused only where they would be run. Commands for other systems are refused in any case: what they
/// make is never known, since nothing here ran them.
pub(crate) fn check(store: &Store, request: &BuildRequest, plan: &Plan) -> Result<()> {
    let is_known = |caches: &Caches| caches.n_records() > 0;
    let is_elsewhere = request.caches.as_deref().is_some_and(is_known);
    for platform in platforms_that_run(plan) {
        check_system(&platform)?;
        let may_be_cached =
            request.cache == CacheUse::Use && (is_elsewhere || note_of(store, &platform).exists());
        if !may_be_cached {
            check_processor(&platform)?;
        }
    }
    Ok(())
}

/// Returns where it is noted that the store has results of commands for `platform`:
/// `cache/foreign/OS-ARCHITECTURE[-VARIANT]`, an empty file.
fn note_of(store: &Store, platform: &corten_dockerfile::Platform) -> PathBuf {
    // What is no name of a platform is no path, either.
    let name = platform.to_string().replace(['/', '.'], "-");
    store.cache_dir().join("foreign").join(name)
}

/// Refuses a command that nothing here can run.
pub(crate) fn check_platform(platform: &corten_dockerfile::Platform) -> Result<()> {
    check_system(platform)?;
    check_processor(platform)
}

impl Builder<'_> {
    /// Notes that what a command for `platform` made is known here, also where nothing runs it later.
    pub(crate) fn note_foreign(&self, platform: &corten_dockerfile::Platform) {
        let note = note_of(self.store, platform);
        if Runs::Directly == emulation(&platform.architecture) || note.exists() {
            return;
        }
        // Without it a command is refused that might be known, before anything is done.
        fs::create_dir_all(note.parent().unwrap_or(&note)).ok();
        fs::File::create(&note).ok();
    }

    /// Tells what runs the commands of each platform.
    pub(crate) fn tell_of_emulation(&self) {
        for platform in platforms_that_run(self.plan) {
            match emulation(&platform.architecture) {
                Runs::Everywhere(emulator) => {
                    let (name, path) = (emulator.name, emulator.interpreter.display().to_string());
                    let text = format!("`{name}` ({path}) runs commands for {platform}");
                    (self.listener)(Event::Detail(&text));
                }
                Runs::InRoot(emulator) => {
                    let path = emulator.interpreter.display();
                    let text = format!(
                        "what runs commands for {platform} is registered without the flag `F`, and \
                         has to be in the image, at `{path}`"
                    );
                    (self.listener)(Event::Warning(&text));
                }
                Runs::Directly | Runs::Not(_) => {}
            }
        }
    }
}

fn platforms_that_run(plan: &Plan) -> BTreeSet<corten_dockerfile::Platform> {
    let is_run = |instruction: &Instruction| matches!(instruction.kind, Kind::Run(_));
    let mut platforms = BTreeSet::new();
    for &index in &plan.needed {
        let Some(stage) = plan.stages.get(index) else {
            continue;
        };
        let triggers = plan.stage_triggers(index);
        if stage.instructions.iter().chain(&triggers).any(is_run) {
            platforms.insert(stage.platform.clone());
        }
    }
    platforms
}

/// The kernel would run the programs of Linux in an image of another system all the same.
fn check_system(platform: &corten_dockerfile::Platform) -> Result<()> {
    if platform.os == "linux" {
        return Ok(());
    }
    let advice = "put RUN into a stage for linux, as with `FROM --platform=$BUILDPLATFORM`, and copy from it";
    Err(refused(
        platform,
        "it is another system, and only programs of Linux are run",
        advice.to_owned(),
    ))
}

fn check_processor(platform: &corten_dockerfile::Platform) -> Result<()> {
    let Runs::Not(missing) = emulation(&platform.architecture) else {
        return Ok(());
    };
    let (reason, advice) = match missing {
        Missing::Disabled => (
            "the emulator for it is switched off",
            "write 1 to its file in `/proc/sys/fs/binfmt_misc`".to_owned(),
        ),
        Missing::Filtered => (
            "the processor runs its programs, and the filter of system calls, which knows one \
             architecture, kills them",
            "register an emulator for it with `binfmt_misc`: that is a program of this machine's own \
             architecture"
                .to_owned(),
        ),
        Missing::Unregistered => (
            "no emulator is registered for it",
            format!(
                "install `qemu-user-static` (Debian 12) or `qemu-user-binfmt` (later), or run \
                 `docker run --privileged --rm tonistiigi/binfmt --install {}`",
                platform.architecture
            ),
        ),
    };
    Err(refused(platform, reason, advice))
}

fn refused(platform: &corten_dockerfile::Platform, reason: &'static str, advice: String) -> Error {
    Error::Foreign {
        platform: platform.to_string(),
        machine: Platform::host().to_string(),
        reason,
        advice,
    }
}
