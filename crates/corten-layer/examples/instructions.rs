//! Reads or resolves one layer, for an instruction counter: `instructions WHAT LAYER.tar`, where WHAT
//! is `read`, `resolve` (which reads first) or `synthesise` (which writes a layer of 60,000 entries).
//!
//! `benches/instructions` counts and takes the difference.

#![expect(clippy::print_stdout, reason = "it is what a measurement is for")]

use std::fs::File;
use std::io::BufWriter;

use corten_layer::Tree;
use corten_spec::{DiffId, Digest};
use corten_tar::{Entry, EntryKind, Limits, Reader, Timestamp, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "instructions read|resolve|synthesise LAYER.tar";
    let mut args = std::env::args().skip(1);
    let (what, path) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?);
    if what == "synthesise" {
        return synthesise(&path);
    }
    let mut reader = Reader::new(File::open(&path)?, Limits::default());
    let mut entries = Vec::new();
    while let Some(located) = reader.next_entry()? {
        entries.push(located);
    }
    if what == "resolve" {
        let id = DiffId(Digest::sha256(path.as_bytes()));
        let (tree, _) = Tree::new().apply(&id, &entries)?;
        drop(tree);
    }
    println!("{}", entries.len());
    Ok(())
}

/// Writes 300 directories of 199 files each, as deep as a Python environment's, every tenth with a
/// time that takes a PAX header.
fn synthesise(path: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = Writer::new(BufWriter::new(File::create(path)?));
    for parent in ["opt", "opt/venv", "opt/venv/lib"] {
        writer.entry(
            &Entry::new(EntryKind::Directory, parent),
            &mut std::io::empty(),
        )?;
    }
    for directory in 0..300 {
        let directory = format!("opt/venv/lib/package-{directory:03}");
        let entry = Entry::new(EntryKind::Directory, directory.as_str());
        writer.entry(&entry, &mut std::io::empty())?;
        for file in 0..199 {
            let mut entry = Entry::new(EntryKind::File, format!("{directory}/module_{file:03}.py"));
            entry.mtime = Timestamp {
                seconds: 1_700_000_000,
                nanoseconds: if file % 10 == 0 { 5 } else { 0 },
            };
            writer.entry(&entry, &mut std::io::empty())?;
        }
    }
    writer.finish()?;
    Ok(())
}
