//! Image config to runtime bundle; unpack and run.
//!
//! [`config::runtime_config`] decides, as a function of values, what a container of an image is
//! (conversion.md of the image specification); [`unpack::unpack`] writes it down as a bundle that runc
//! and crun run, and [`run::run`] starts it at once, from the layers in the store.
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
pub mod config;
mod defaults;
pub mod error;
mod host;
pub mod process;
pub mod run;
pub mod spec;
pub mod unpack;
mod upper;
pub mod volume;

pub use config::{ConfigOptions, Converted, Note, runtime_config};
pub use error::{Error, Result};
pub use run::{RunRequest, run};
pub use unpack::{UnpackOptions, Unpacked, unpack};
