//! Image config to runtime bundle; unpack and run.
//!
//! [`config::runtime_config`] decides, as a function of values, what a container of an image is
//! (conversion.md of the image specification); [`unpack::unpack`] writes it down as a bundle that runc
//! and crun run, [`repack()`] makes what was changed in it a layer of its image, and [`run::run`] starts it at once, from the layers in the store.
//!
//! ```
//! use corten_bundle::config::{ConfigOptions, runtime_config};
//! use corten_layer::users::User;
//! use corten_spec::{ImageConfig, Platform};
//!
//! let mut image = ImageConfig::scratch(&Platform::new("linux", "amd64"));
//! image.config.cmd = Some(vec!["/bin/true".into()]);
//! image.config.working_dir = "/srv".into();
//! let converted = runtime_config(&image, &User::default(), &ConfigOptions::default())?;
//! assert_eq!(converted.config.process.args, ["/bin/true"]);
//! assert_eq!(converted.config.process.cwd, "/srv");
//! # Ok::<(), corten_bundle::Error>(())
//! ```

mod annotate;
mod clock;
pub mod config;
mod defaults;
mod edits;
pub mod error;
mod host;
pub mod ids;
mod masks;
mod origins;
pub mod process;
mod record;
pub mod repack;
pub mod run;
pub mod spec;
mod survey;
pub mod unpack;
mod upper;
pub mod verbatim;
pub mod volume;

pub use config::{ConfigOptions, Converted, Note, runtime_config};
pub use error::{Error, Result};
pub use ids::IdMaps;
pub use masks::VolumeMasks;
pub use repack::{Origin, Refresh, RepackOptions, Repacked, repack};
pub use run::{RunRequest, is_unmountable, run, run_directories, run_files};
pub use unpack::{UnpackOptions, Unpacked, unpack};
