//! The shared suite, through an archive that is written and read for every question.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use corten_content::{Error, Ingest, IngestPlan, Result, Sink, Source};
use corten_spec::Descriptor;
use corten_testing::content_suite::content_suite;
use corten_transport::{Archive, ArchiveWriter, Format, ReadOptions};

struct RoundTrip {
    writer: ArchiveWriter,
    scratch: PathBuf,
}

impl RoundTrip {
    fn new(dir: &Path) -> Self {
        Self {
            writer: ArchiveWriter::create(&dir.join("archive.tar"), Format::Oci).unwrap(),
            scratch: dir.to_owned(),
        }
    }

    fn archive(&self) -> Result<Archive> {
        let mut bytes = Vec::new();
        self.writer.write_to(&mut bytes)?;
        let options = ReadOptions::new(&self.scratch);
        let stream = Box::new(Cursor::new(bytes));
        Ok(Archive::from_stream(stream, "-", Format::Oci, &options)?)
    }
}

impl Source for RoundTrip {
    fn place(&self) -> String {
        Sink::place(&self.writer)
    }

    fn resolve(&self, name: &str) -> Result<Descriptor> {
        self.archive()?.resolve(name)
    }

    fn fetch(&self, content: &Descriptor, offset: u64) -> Result<Box<dyn Read + Send + '_>> {
        let archive = self.archive()?;
        let mut bytes = Vec::new();
        let mut reader = archive.fetch(content, offset)?;
        reader
            .read_to_end(&mut bytes)
            .map_err(|error| Error::stream("read", error))?;
        Ok(Box::new(Cursor::new(bytes)))
    }
}

impl Sink for RoundTrip {
    fn place(&self) -> String {
        Sink::place(&self.writer)
    }

    fn contains(&self, content: &Descriptor) -> Result<bool> {
        self.writer.contains(content)
    }

    fn ingest(&self, plan: &IngestPlan) -> Result<Box<dyn Ingest + '_>> {
        self.writer.ingest(plan)
    }

    fn tag(&self, tag: &str, content: &Descriptor) -> Result<()> {
        self.writer.tag(tag, content)
    }
}

#[test]
fn archive() {
    content_suite(RoundTrip::new);
}
