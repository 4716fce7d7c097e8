//! A RUN where nothing can be mounted: in a directory of all files, by chroot(2).

use corten_dockerfile::RunMountKind;
use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::upper::{Upper, read_touched};
use corten_layer::users::resolve_builder;
use corten_sandbox::{RootKind, Sandbox};
use corten_spec::Digest;

use crate::build::Builder;
use crate::commit::Made;
use crate::error::StepResult;
use crate::event::Event;
use crate::run::cover::Covers;
use crate::run::injected::Injected;
use crate::run::mounts::Prepared;
use crate::run::places::Taken;
use crate::run::tree::WorkTree;
use crate::run::walk::Walk;
use crate::run::{Running, sandbox, sockets, times};
use crate::stage::Stage;
use crate::{Error, Result};

impl Builder<'_> {
    /// Runs the command in a tree, which the next step gets unless this one fails.
    pub(crate) fn run_chrooted(
        &self,
        stage: &mut Stage,
        running: &Running<'_>,
        taken: &[Option<Taken<'_>>],
        key: &Digest,
    ) -> StepResult<Made> {
        let mut work = self.work_tree(stage)?;
        let upper = self.changed_by(stage, running, taken, &work)?;
        let tree = stage.tree(&self.snapshots)?;
        let files = work.files();
        sockets::remove(&files, &upper.sockets)?;
        if let Some(clamp) = self.clamp {
            times::clamp(&files, &upper.changes, clamp)?;
        }
        drop(tree);
        let keys = std::slice::from_ref(key);
        let made = self.commit(stage, keys, upper.changes, &upper.files)?;
        let mut layers = stage.diff_ids();
        layers.extend(
            made.outcome
                .layer
                .as_ref()
                .map(|layer| layer.diff_id.clone()),
        );
        work.holds(layers)?;
        self.trees.put(work);
        Ok(made)
    }

    fn changed_by(
        &self,
        stage: &mut Stage,
        running: &Running<'_>,
        taken: &[Option<Taken<'_>>],
        work: &WorkTree,
    ) -> StepResult<Upper> {
        let tree = stage.tree(&self.snapshots)?;
        let files = work.files();
        let root = Root::open(&files)?;
        let walk = Walk::of(&root)?;
        let prepared = self.prepare_mounts(running, taken)?;
        let injected = Injected::prepare(&tree, &files, &running.run.workdir, &prepared.points)?;
        let attic = work.attic()?;
        self.warn_of_disk(running);
        let mut covers = Covers::new(&root, &attic);
        let covered = covers.prepare(&tree, &prepared.points);
        if !covers.missing_devices.is_empty() {
            let names = covers.missing_devices.join(", ");
            let text = format!("devices that cannot be made here: {names}");
            (self.listener)(Event::Detail(&text));
        }
        let settled = walk.settle(work.place());
        let ran = covered
            .and(settled)
            .and_then(|()| self.execute_chrooted(stage, running, &prepared, work));
        let withdrawn = covers.withdraw();
        // Others may use its caches now.
        drop(prepared);
        ran?;
        withdrawn?;
        injected.withdraw(&[])?;
        let touched = walk.touched(&root)?;
        let bytes = stage.bytes(&self.snapshots);
        let contents = TreeContents {
            tree: &tree,
            bytes: &bytes,
        };
        let upper = read_touched(&tree, &contents, root, touched)?;
        self.warn_of(&upper);
        Ok(upper)
    }

    /// Tells of what is promised to be in memory and is not.
    pub(crate) fn warn_of_disk(&self, running: &Running<'_>) {
        for mount in &running.run.mounts {
            if matches!(mount.kind, RunMountKind::Tmpfs { .. }) {
                (self.listener)(Event::Warning(&format!(
                    "the tmpfs at `{}` is a directory on disk without a limit: nothing can be mounted here",
                    mount.target
                )));
            }
        }
    }

    fn execute_chrooted(
        &self,
        stage: &mut Stage,
        running: &Running<'_>,
        prepared: &Prepared,
        work: &WorkTree,
    ) -> Result<()> {
        let user = self.with_contents(stage, |tree, contents| {
            resolve_builder(tree, contents, &running.run.user)
        })?;
        let root = RootKind::Chroot(work.files());
        let sandbox = Sandbox {
            mounts: Vec::new(),
            ..sandbox(
                running.run,
                &user,
                root,
                self.network(running.run),
                prepared,
            )
        };
        let outcome = self.run_to_its_end(&sandbox, running).map_err(explained)?;
        for shortcoming in &outcome.shortcomings {
            (self.listener)(Event::Detail(shortcoming));
        }
        Ok(())
    }
}

/// A command may have failed for what it misses here, which its output need not tell.
fn explained(error: Error) -> Error {
    match error {
        Error::Run {
            command,
            status,
            tail,
            is_disk_full,
        } => Error::Run {
            command,
            status: format!("{status}; isolated by chroot, it found /proc and /sys empty"),
            tail,
            is_disk_full,
        },
        other => other,
    }
}
