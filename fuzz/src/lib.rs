//! What the fuzzer does with its bytes, one function a target.
//!
//! A target panics when something is wrong: a parser panicked, a limit did not hold, or what must be
//! equal is not. The inputs in `corpus` are replayed by an ordinary test, without a fuzzer.
//!
//! ```
//! corten_fuzz::run("digest", b"sha256:0123");
//! ```

mod build;
mod dockerfile;
mod documents;
mod erofs;
mod generator;
mod images;
mod parts;
mod registry;
mod registry_client;
#[cfg(test)]
mod replay;
#[path = "../../crates/corten-layer/tests/it/snapshot.rs"]
mod snapshot;
mod tar;
mod text;
mod tree;

use cap::Cap;

/// Bounds what all of a target may hold at once, so that an allocation by a size that the input names
/// ends the fuzzer, even where the memory would never be touched.
#[global_allocator]
static ALLOCATOR: Cap<std::alloc::System> = Cap::new(std::alloc::System, 1 << 30);

/// A target: its name, which is also that of its corpus and its program, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("archive", images::archive),
    ("bake", build::bake),
    ("cache", build::cache),
    ("challenge", registry::challenge),
    ("context", build::context),
    ("credential_files", registry::credential_files),
    ("decode", tar::decode),
    ("digest", text::digest),
    ("directory", tree::directory),
    ("dockerfile", dockerfile::dockerfile),
    ("dockerignore", dockerfile::dockerignore),
    ("documents", documents::documents),
    ("encode", tar::encode),
    ("erofs", erofs::erofs),
    ("headers", registry::headers),
    ("image", images::image),
    ("layer_index", tree::layer_index),
    ("layer_tar", tree::layer_tar),
    ("layers", tree::layers),
    ("layout", images::layout),
    ("media_type", text::media_type),
    ("platform", text::platform),
    ("policy", build::policy),
    ("reference", text::reference),
    ("registry", registry_client::registry),
    ("registry_answers", registry::registry_answers),
    ("tar", tar::tar),
    ("url", registry::url),
    ("users", tree::users),
];

/// Runs the target called `name` on `data`, with as much memory as its work warrants.
///
/// # Panics
/// If there is no such target, and when the target finds something wrong.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .unwrap_or_else(|| panic!("there is no target called `{name}`"));
    target(data);
}
