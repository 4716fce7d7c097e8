//! The build: from a request to an image in the store.

use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use corten_content::Store;
use corten_dockerfile::{
    Diagnostic, Dockerfile, Graph, Instruction, Plan, PlanOptions, Span, parse, plan_targets,
    render, unsupported,
};
use corten_sandbox::{Cancel, Held, Tier};
use corten_snapshot::{LayerRef, Snapshots};
use corten_spec::{Descriptor, Digest, ImageId, Platform};
use corten_tar::Timestamp;

use crate::base::Bases;
use crate::board::Board;
use crate::cache::Outcome;
use crate::checks;
use crate::elsewhere::Elsewhere;
use crate::event::{Event, Listener};
use crate::materials::{BuiltStep, Material, NotedStep};
use crate::memo::Memo;
use crate::packing::{Layer, Packing, packed};
use crate::request::LayersOf;
use crate::run::Copied;
use crate::run::tree::Trees;
use crate::sources::Sources;
use crate::stage::Finished;
use crate::{BuildRequest, Error, Result, finish};

/// The image that was built. It is in the store, and nothing names it yet.
///
/// Two are equal if the images are, however they came to be.
#[derive(Debug, Clone)]
pub struct Built {
    /// Its manifest, with the platform.
    pub manifest: Descriptor,
    /// The digest of its config.
    pub image_id: ImageId,
    /// Its layers as the build has them, lowest first.
    pub layers: Vec<LayerRef>,
    /// How many of them are those of the image that it is based on.
    pub n_base_layers: usize,
    /// Whether the manifest has one layer in place of those above the base image's.
    pub is_squashed: bool,
    /// What each step of the run left, in the order of the lines of the Dockerfile: those of all targets.
    pub steps: Vec<BuiltStep>,
    /// What came from elsewhere in the run, sorted.
    pub materials: Vec<Material>,
}

impl PartialEq for Built {
    fn eq(&self, other: &Self) -> bool {
        (&self.manifest, &self.image_id) == (&other.manifest, &other.image_id)
    }
}

impl Eq for Built {}

/// Builds what `request` asks for into `store`: the first of its targets is returned.
///
/// Stages that do not need each other are built at the same time. Steps whose inputs were seen before
/// are taken from the cache. On failure, what earlier steps made stays there, and nothing else is left
/// behind.
pub fn build(
    store: &Store,
    request: &BuildRequest,
    bases: &dyn Bases,
    listener: &Listener<'_>,
) -> Result<Built> {
    let built = build_all(store, request, bases, listener)?;
    built.into_iter().next().ok_or_else(|| no_stage(request))
}

/// Builds every target of `request` into `store` in one run, and returns the images in the order in
/// which they were asked for; a stage that is named twice is there once.
///
/// What several targets need is built once. For the rest see [`build`].
pub fn build_all(
    store: &Store,
    request: &BuildRequest,
    bases: &dyn Bases,
    listener: &Listener<'_>,
) -> Result<Vec<Built>> {
    let dockerfile = parsed(request)?;
    let plan = planned(store, request, &dockerfile)?;
    for note in &dockerfile.notes {
        listener(Event::Warning(&note.message));
    }
    if !plan.unconsumed.is_empty() {
        let names = plan.unconsumed.join("`, `");
        listener(Event::Warning(&format!(
            "no ARG takes the build argument `{names}`"
        )));
    }
    loop {
        let result = attempt(store, request, bases, listener, &plan);
        let losses = request.caches.as_ref().map(|caches| caches.take_losses());
        let losses = losses.unwrap_or_default();
        if result.is_ok() || losses.is_empty() {
            return result;
        }
        // What a cache promised is not to be had: the steps are made here. Each layer is lost only once.
        for loss in &losses {
            listener(Event::Warning(loss));
        }
    }
}

fn attempt(
    store: &Store,
    request: &BuildRequest,
    bases: &dyn Bases,
    listener: &Listener<'_>,
    plan: &Plan,
) -> Result<Vec<Built>> {
    let clamp = request.clamp.map(|clamp| Timestamp::from_seconds(clamp.0));
    let now = clamp.unwrap_or_else(now);
    let cancel = end_of(request)?;
    let elsewhere = Elsewhere::new(request, bases);
    let builder = Builder {
        store,
        elsewhere: &elsewhere,
        snapshots: Snapshots::new(store)
            .with_limits(request.limits)
            .with_owners(crate::run::owners())
            .with_layers_of(&elsewhere),
        request,
        listener,
        sources: Sources::new(request, bases, store),
        finished: plan.stages.iter().map(|_| OnceLock::new()).collect(),
        plan,
        clamp,
        now,
        created: rfc3339(now),
        made: Memo::default(),
        packing: Packing::default(),
        tier: Memo::default(),
        trees: Trees::default(),
        copies: Memo::default(),
        cancel: cancel.clone(),
        n_steps: AtomicUsize::new(0),
        shell: Mutex::default(),
        steps: Mutex::default(),
    };
    let is_judged = checks::refuse(&builder)?;
    builder.prepare_isolation()?;
    builder.tell_of_emulation();
    builder.sources.find_bases(plan)?;
    let board = Board::new(&plan.needed, cancel.clone());
    let worked = builder.while_packing(|| board.work(|board, next| builder.perform(board, next)));
    if !is_judged {
        checks::warn(&builder);
    }
    worked?;
    if cancel.is_cancelled() {
        return Err(Error::Stopped);
    }
    let targets = plan.targets.iter();
    targets.map(|&target| builder.image_of(target)).collect()
}

fn no_stage(request: &BuildRequest) -> Error {
    let nothing = Diagnostic::new("there is no stage", Span::default());
    refused(request, &[nothing])
}

/// Returns what ends one attempt: by itself, or when the whole build is to end.
fn end_of(request: &BuildRequest) -> Result<Cancel> {
    let failed = |source| Error::Isolation { source };
    let cancel = Cancel::new().map_err(failed)?;
    if let Some(whole) = &request.cancel {
        let linked = cancel.clone();
        whole.on_cancel(move || linked.request());
        // It may have come just before it was listened to.
        if whole.is_cancelled() {
            cancel.request();
        }
    }
    Ok(cancel)
}

/// One build: what its stages share.
pub(crate) struct Builder<'a> {
    pub(crate) store: &'a Store,
    pub(crate) snapshots: Snapshots<'a>,
    /// Where layers are that are not in the store.
    pub(crate) elsewhere: &'a Elsewhere<'a>,
    pub(crate) request: &'a BuildRequest,
    pub(crate) listener: &'a Listener<'a>,
    pub(crate) sources: Sources<'a>,
    pub(crate) plan: &'a Plan,
    /// The stages that are built, by their numbers.
    pub(crate) finished: Vec<OnceLock<Finished>>,
    pub(crate) clamp: Option<Timestamp>,
    pub(crate) now: Timestamp,
    pub(crate) created: String,
    /// What steps of this build made, so that of two stages with the same step one waits.
    pub(crate) made: Memo<Digest, Outcome<Layer>>,
    /// Layers that are packed while other steps go on.
    pub(crate) packing: Packing,
    /// How commands are isolated, once it was found out.
    pub(crate) tier: Memo<(), Tier>,
    /// Directories of all files, where commands need them.
    pub(crate) trees: Trees,
    /// Copies of parts of the context that commands mount, by its address and their paths in it. Each
    /// keeps the context, so that nothing else gets its address.
    pub(crate) copies: Memo<(usize, Vec<u8>), Copied>,
    /// Kills commands when the build ends early: a stage failed, or the request's is cancelled. An attempt
    /// that is made after this one has its own.
    pub(crate) cancel: Cancel,
    /// How many steps have begun.
    pub(crate) n_steps: AtomicUsize,
    /// Held while a shell is in the place of a command that failed.
    pub(crate) shell: Mutex<()>,
    /// What the steps left so far.
    pub(crate) steps: Mutex<Vec<NotedStep>>,
}

impl Builder<'_> {
    /// Says that there is something that must be gone before the program ends.
    ///
    /// # Errors
    /// [`Error::Stopped`] once the build is to end.
    pub(crate) fn hold_end(&self) -> Result<Held> {
        if self.cancel.is_cancelled() {
            return Err(Error::Stopped);
        }
        // Who ends the whole build waits for what is held there.
        let whole = self.request.cancel.as_ref().unwrap_or(&self.cancel);
        whole.hold().map_err(|_| Error::Stopped)
    }

    /// Stores the documents of the image that stage `index` is.
    fn image_of(&self, index: usize) -> Result<Built> {
        let Some(target) = self.finished(index) else {
            return Err(no_stage(self.request));
        };
        let target = target.stage.begin_on();
        let created = self.created_of(&target);
        let layers = packed(&target.layers)?;
        if self.request.layers == LayersOf::Store {
            self.elsewhere.bring_all(self.store, &layers)?;
        }
        if let Some(caches) = &self.request.caches {
            caches.settle(self.store)?;
        }
        let image = finish::finish(self.store, self.request, &target, layers, &created)?;
        Ok(Built {
            steps: self.built_steps()?,
            materials: self.sources.materials(),
            ..image
        })
    }

    /// Returns stage `index` if it is built.
    pub(crate) fn finished(&self, index: usize) -> Option<&Finished> {
        self.finished.get(index)?.get()
    }

    /// Returns the instructions of all stages that are needed.
    pub(crate) fn needed_instructions(&self) -> impl Iterator<Item = &Instruction> {
        let stages = self.plan.needed.iter();
        stages
            .filter_map(|&index| self.plan.stages.get(index))
            .flat_map(|stage| &stage.instructions)
    }

    /// Returns the name of a stage, if it has one.
    pub(crate) fn stage_name(&self, index: usize) -> Option<&str> {
        self.plan.stages.get(index)?.name.as_deref()
    }

    pub(crate) fn refused(&self, diagnostic: &Diagnostic) -> Error {
        refused(self.request, std::slice::from_ref(diagnostic))
    }
}

/// Refuses what [`build`] would refuse before it does anything, as far as the Dockerfile, the machine, what
/// `store` has of earlier builds and `bases` tell.
///
/// Who builds for several platforms asks this for each of them first.
///
/// # Errors
///
/// Those of [`graph`], an instruction or a flag that is not supported or not allowed,
/// [`Error::Foreign`], and [`Error::Base`] where an image that a stage is based on is not to be had.
pub fn preflight(store: &Store, request: &BuildRequest, bases: &dyn Bases) -> Result<()> {
    let dockerfile = parsed(request)?;
    let plan = planned(store, request, &dockerfile)?;
    Sources::new(request, bases, store).find_bases(&plan)
}

/// Returns the graph of stages that [`build`] would build; nothing is done.
///
/// # Errors
///
/// A Dockerfile that breaks the grammar or cannot be planned.
pub fn graph(request: &BuildRequest) -> Result<Graph> {
    let dockerfile = parsed(request)?;
    let plan = planned_only(request, &dockerfile)?;
    Ok(Graph::of(&dockerfile, &plan))
}

fn parsed(request: &BuildRequest) -> Result<Dockerfile> {
    parse(&request.text).map_err(|error| match error {
        corten_dockerfile::Error::Syntax { diagnostics } => refused(request, &diagnostics),
        other => refused(
            request,
            &[Diagnostic::new(other.to_string(), Span::default())],
        ),
    })
}

fn planned_only(request: &BuildRequest, dockerfile: &Dockerfile) -> Result<Plan> {
    let options = PlanOptions {
        target: request.target.as_deref(),
        build_args: &request.build_args,
        platform: &platform_of(&request.platform),
        build_platform: &platform_of(&Platform::host()),
        contexts: &request.contexts,
    };
    plan_targets(dockerfile, &options, &request.targets()).map_err(|one| refused(request, &[one]))
}

/// Plans what is built, and refuses what cannot be.
fn planned(store: &Store, request: &BuildRequest, dockerfile: &Dockerfile) -> Result<Plan> {
    let plan = planned_only(request, dockerfile)?;
    check_uncached(request, &plan)?;
    let mut problems = unsupported(&plan);
    for stage in plan
        .needed
        .iter()
        .filter_map(|&stage| plan.stages.get(stage))
    {
        problems.extend(crate::run::refused(&stage.instructions, &request.run));
    }
    if !problems.is_empty() {
        return Err(refused(request, &problems));
    }
    crate::run::foreign::check(store, request, &plan)?;
    Ok(plan)
}

/// A name that is mistaken would have the cache used where it must not be.
fn check_uncached(request: &BuildRequest, plan: &Plan) -> Result<()> {
    let is_there = |wanted: &str| {
        plan.stages.iter().enumerate().any(|(index, stage)| {
            let name = stage.name.clone().unwrap_or_else(|| index.to_string());
            name.eq_ignore_ascii_case(wanted)
        })
    };
    match request.uncached_stages.iter().find(|name| !is_there(name)) {
        Some(name) => Err(Error::UncachedStage { name: name.clone() }),
        None => Ok(()),
    }
}

pub(crate) fn refused(request: &BuildRequest, diagnostics: &[Diagnostic]) -> Error {
    let draw = |one: &Diagnostic| render(one, &request.file_name, &request.text);
    Error::Dockerfile {
        rendered: diagnostics.iter().map(draw).collect(),
    }
}

pub(crate) fn platform_of(platform: &Platform) -> corten_dockerfile::Platform {
    let variant = platform.variant.as_deref().unwrap_or_default();
    corten_dockerfile::Platform::new(&platform.os, &platform.architecture, variant)
}

pub(crate) fn spec_platform(platform: &corten_dockerfile::Platform) -> Platform {
    let variant = (!platform.variant.is_empty()).then(|| platform.variant.clone());
    let named = Platform::new(&platform.os, &platform.architecture);
    Platform { variant, ..named }
}

fn now() -> Timestamp {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(now.as_secs()).unwrap_or_default();
    Timestamp {
        seconds,
        nanoseconds: now.subsec_nanos(),
    }
}

fn rfc3339(time: Timestamp) -> String {
    let nanoseconds = i32::try_from(time.nanoseconds).unwrap_or_default();
    jiff::Timestamp::new(time.seconds, nanoseconds)
        .unwrap_or_default()
        .to_string()
}
