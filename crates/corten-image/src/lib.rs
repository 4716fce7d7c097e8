//! One image as a whole: its tree, its files, conversion, validation.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! use corten_content::Store;
//! use corten_image::{Archive, ImportOptions, ValidateOptions, import, validate};
//! use corten_spec::Platform;
//!
//! let store = Store::open(dir.path())?;
//! let archive = Archive::Stream(Box::new(std::io::Cursor::new([0; 1024])));
//! let options = ImportOptions::new(Platform::new("linux", "amd64"));
//! let image = import(&store, archive, &options)?;
//! assert_eq!(validate(&store, &image, &ValidateOptions::default())?, []);
//! # Ok::<(), corten_image::Error>(())
//! ```

pub mod convert;
pub mod error;
pub mod export;
pub mod files;
pub mod import;
mod near;
pub mod on_disk;
pub mod outline;
pub mod squash;
pub mod validate;

pub use convert::{ConvertOptions, Converted, Loss, Unplaced, convert};
pub use error::{Error, Result};
pub use export::export;
pub use files::{Files, Found, Links};
pub use import::{Archive, ImportOptions, import};
pub use on_disk::{OnDisk, on_disk};
pub use outline::outline;
pub use squash::{SquashOptions, squash};
pub use validate::{
    Finding, Layers, Level, Place, Requirement, Strength, ValidateOptions, Within, requirement,
    requirements, validate, validate_all, validate_layout,
};
