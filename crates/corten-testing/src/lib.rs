//! Builders of images, layers and backends for tests, a registry, and a runner of tests.

pub mod content_suite;
pub mod harness;
pub mod image;
pub mod registry;

pub use image::Image;
pub use registry::Registry;
