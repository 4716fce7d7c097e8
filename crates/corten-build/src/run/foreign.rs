//! Commands for other processors: refused before anything runs, where nothing runs them.

use std::collections::BTreeSet;

use corten_dockerfile::{Instruction, Kind};
use corten_sandbox::{Missing, Runs, emulation};
use corten_spec::Platform;

use crate::build::Builder;
use crate::event::Event;
use crate::{Error, Result};

impl Builder<'_> {
    /// Finds out what runs the commands of each platform.
    pub(crate) fn prepare_emulation(&self) -> Result<()> {
        for platform in self.platforms_that_run() {
            match emulation(&platform.architecture) {
                Runs::Directly => {}
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
                Runs::Not(missing) => return Err(refused(&platform, missing)),
            }
        }
        Ok(())
    }

    fn platforms_that_run(&self) -> BTreeSet<corten_dockerfile::Platform> {
        let is_run = |instruction: &Instruction| matches!(instruction.kind, Kind::Run(_));
        let mut platforms = BTreeSet::new();
        for &index in &self.plan.needed {
            let Some(stage) = self.plan.stages.get(index) else {
                continue;
            };
            let triggers = self.plan.stage_triggers(index);
            if stage.instructions.iter().chain(&triggers).any(is_run) {
                platforms.insert(stage.platform.clone());
            }
        }
        platforms
    }
}

fn refused(platform: &corten_dockerfile::Platform, missing: Missing) -> Error {
    let (reason, advice) = match missing {
        Missing::Disabled => (
            "the emulator for it is switched off",
            "write 1 to its file in `/proc/sys/fs/binfmt_misc`".to_owned(),
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
    Error::Foreign {
        platform: platform.to_string(),
        machine: Platform::host().to_string(),
        reason,
        advice,
    }
}
