//! Bake files and compose files to the builds that they define.
//!
//! Three languages say the same: HCL, JSON, and the `build` sections of compose files. [`bake`] reads
//! files in order, works out variables, functions and matrices, resolves what targets inherit, and
//! returns the targets that were asked for; [`definition`] makes the arguments of a build of one. What
//! they mean is what `docker buildx bake` makes of them. Nothing here reads a file or the environment.
//!
//! Files are hostile: their nesting, the number of targets, and the work that expressions may do are
//! bounded.
//!
//! # Examples
//!
//! ```
//! use corten_bake::{File, Request, bake, definition};
//!
//! let text = r#"
//! variable "TAG" { default = "1" }
//! target "default" {
//!   context = "app"
//!   tags = ["app:${TAG}"]
//! }
//! "#;
//! let files = [File::new("docker-bake.hcl", text)];
//! let baked = bake(&Request {
//!     files: &files,
//!     environment: &|name| (name == "TAG").then(|| "2".to_owned()),
//!     ..Request::default()
//! })
//! .unwrap();
//! let build = definition("default", &baked.targets["default"]).unwrap();
//! assert_eq!(build.args, ["--file=app/Dockerfile", "--tag=app:2", "--", "app"]);
//! ```

mod attribute;
mod bake;
mod compose;
mod convert;
mod csv;
mod definition;
mod depth;
mod entry;
mod error;
mod eval;
mod functions;
mod interpolate;
mod list;
mod matrix;
mod overrides;
mod read;
mod stated;
mod targets;
mod variables;

pub use attribute::{ATTRIBUTES, Attribute, Support};
pub use bake::{Baked, File, Lookup, Opener, Request, bake, list_targets, list_variables};
pub use definition::{Definition, definition};
pub use error::{Error, Result};
pub use functions::{FUNCTIONS, REFUSED_FUNCTIONS};
pub use list::{ListedTarget, ListedVariable};
pub use overrides::Override;
