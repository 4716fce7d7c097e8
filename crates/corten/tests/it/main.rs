//! The built program, in a directory and an environment of its own.

#![expect(
    clippy::unwrap_used,
    reason = "what tests share is outside their functions"
)]

mod bake;
mod build;
mod build_flags;
mod bundles;
mod contexts;
mod fetching;
mod files;
mod kaniko;
mod layering;
mod lazy;
mod limits;
mod local;
mod mount;
mod objects;
mod places;
mod platforms;
mod program;
mod registries;
mod resume;
mod run;
mod run_caches;
mod runs;
mod several;
mod signals;
mod signing_in;
mod status;
mod store;
mod usage;
mod validate;
