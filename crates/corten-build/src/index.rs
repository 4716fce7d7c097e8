//! Indexes: of the images of several platforms, and of an image with its attestations.

use corten_content::{Sink, put};
use corten_spec::annotations::Annotations;
use corten_spec::{Descriptor, Index, document, media_type};

use crate::Result;

/// Stores an index of `manifests`, in that order, and returns its descriptor.
///
/// The manifests must be stored before (children before parents), and each descriptor should have
/// its platform. The bytes of the index follow from the arguments alone.
///
/// # Errors
///
/// The index cannot be stored.
pub fn put_index(
    sink: &dyn Sink,
    manifests: Vec<Descriptor>,
    annotations: &Annotations,
) -> Result<Descriptor> {
    let index = Index {
        annotations: annotations.clone(),
        ..Index::oci(manifests)
    };
    let bytes = document::to_bytes(&index);
    Ok(put(sink, media_type::OCI_INDEX, &bytes)?)
}

#[cfg(test)]
mod tests {
    use corten_content::{Memory, load};
    use corten_spec::{Document, Platform};

    use super::*;

    #[test]
    fn an_index_keeps_order_platforms_and_annotations() {
        let memory = Memory::new();
        let manifests = ["arm64", "amd64"].map(|architecture| {
            let mut manifest =
                put(&memory, media_type::OCI_MANIFEST, architecture.as_bytes()).unwrap();
            manifest.platform = Some(Platform::new("linux", architecture));
            manifest
        });
        let annotations = Annotations::from([("a".to_owned(), "b".to_owned())]);
        let index = put_index(&memory, manifests.to_vec(), &annotations).unwrap();
        assert_eq!(index.media_type, media_type::OCI_INDEX);
        assert!(memory.contains(&index).unwrap());
        let stored: Document<Index> = load(&memory, &index).unwrap();
        assert_eq!(stored.value.manifests, manifests);
        assert_eq!(stored.value.annotations, annotations);
    }
}
