//! Builds images from Dockerfiles: plan, cache, steps, layers.
//!
//! COPY, ADD, WORKDIR and metadata write layers straight from the context and the trees of images:
//! nothing is unpacked for them and no privilege is needed. Only RUN makes directories, and its
//! layer costs what it changed.
//!
//! ```no_run
//! use corten_build::{BuildRequest, NoBases, build};
//! use corten_content::Store;
//!
//! let store = Store::open("/tmp/store".as_ref())?;
//! let request = BuildRequest::new("Dockerfile", "FROM scratch\nCOPY hello /\n", "/tmp/context".as_ref());
//! let built = build(&store, &request, &NoBases, &|_event| {})?;
//! println!("{}", built.manifest.digest);
//! # Ok::<(), corten_build::Error>(())
//! ```

pub mod base;
mod board;
pub mod budget;
pub mod build;
mod cache;
pub mod caches;
pub mod checks;
mod chmod;
mod commit;
mod context;
mod copy;
mod digests;
mod downloads;
mod elsewhere;
pub mod error;
pub mod event;
pub mod explain;
mod finish;
mod image;
pub mod index;
mod key;
pub mod lock;
pub mod materials;
mod memo;
mod packing;
pub mod policy;
pub mod provenance;
mod reach;
mod remembered;
pub mod remote;
pub mod reproducible;
pub mod request;
pub mod rules;
mod run;
mod schedule;
mod sources;
pub mod ssh;
mod stage;
mod stages;
mod steps;
mod workdir;

pub use base::{BaseImage, Bases, Named, NoBases};
pub use build::{Built, build, build_all, graph, preflight};
pub use cache::{
    CacheEntry, CacheReport, cached_layers, check_cache, forget, list_cache, prune as prune_cache,
    remove_records,
};
pub use checks::check;
pub use context::read_context_file;
pub use error::{Error, Result};
pub use event::{Event, Listener};
pub use explain::Reason;
pub use index::put_index;
pub use materials::{BuiltStep, Material};
pub use remembered::{RememberedBase, recall_base, remember_base};
pub use remote::{GitCommit, GitFiles, HttpAnswer, NoRemotes, Remotes, Validators};
pub use request::{BuildRequest, Clamp};
pub use run::caches::{RunCache, prune_run_caches, remove_run_caches, run_caches};
pub use run::options::{Allowed, Dns, FailureShell, RunOptions};
pub use ssh::{SshAgent, SshKey};
