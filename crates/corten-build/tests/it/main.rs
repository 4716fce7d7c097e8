//! Builds without RUN: what becomes of the files, the config, the history and the cache.
#![expect(
    clippy::unwrap_used,
    reason = "these are tests, but the lint sees only functions with `#[test]`"
)]

mod addresses;
mod archives;
mod attributes;
mod caches;
mod caching;
mod configs;
mod copying;
mod determinism;
mod errors;
mod layers;
mod mounts;
mod selecting;
mod site;
mod sketch;
mod stages;
mod workdirs;
