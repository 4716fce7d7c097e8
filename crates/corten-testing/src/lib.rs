//! Builders of images, layers and backends for tests.

pub mod content_suite;
pub mod image;

pub use image::Image;
