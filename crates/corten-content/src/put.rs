//! Writing content that is at hand as a whole, such as a document.

use corten_spec::Descriptor;

use crate::{Error, IngestPlan, Result, Sink};

/// Stores `bytes` in `sink`, unless they are there, and returns what names them.
pub fn put(sink: &dyn Sink, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
    let content = Descriptor::of(media_type, bytes);
    if sink.contains(&content)? {
        return Ok(content);
    }
    let mut ingest = sink.ingest(&IngestPlan::of(&content)?)?;
    // An earlier write of the same bytes may have been interrupted.
    let offset = usize::try_from(ingest.offset()).unwrap_or(usize::MAX);
    ingest
        .write_all(bytes.get(offset..).unwrap_or_default())
        .map_err(|error| Error::stream(format!("store `{}`", content.digest), error))?;
    ingest.commit(Some(&content))?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, read};

    #[test]
    fn what_is_there_or_was_begun_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let content = Descriptor::of("text/plain", b"hello");
        let plan = IngestPlan::of(&content).unwrap();
        let mut begun = store.ingest(&plan).unwrap();
        begun.write_all(b"he").unwrap();
        drop(begun);
        assert_eq!(
            store.ingest(&plan).unwrap().offset(),
            2,
            "nothing is tested else"
        );
        for _ in 0..2 {
            assert_eq!(put(&store, "text/plain", b"hello").unwrap(), content);
            assert_eq!(read(&store, &content, 5).unwrap(), b"hello");
        }
    }
}
