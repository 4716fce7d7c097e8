//! Measures reading, resolving and writing one layer: `measure LAYER.tar DIRECTORY [THREADS]`.
//!
//! The directory must be there and empty.

#![expect(clippy::print_stdout, reason = "it is what a measurement is for")]

use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Instant;

use corten_layer::beneath::Root;
use corten_layer::bytes::TreeContents;
use corten_layer::directory::{Devices, DirectoryOptions, Owners, write_tree};
use corten_layer::{Error, LayerBytes, Result, Tree, index};
use corten_spec::{DiffId, Digest};
use corten_tar::{Limits, Reader};

struct OneFile(File);

impl LayerBytes for OneFile {
    fn read_at(&self, _: &DiffId, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.0
            .read_exact_at(buf, offset)
            .map_err(Error::system("read", "the layer"))
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let usage = "measure LAYER.tar DIRECTORY [THREADS]";
    let mut args = std::env::args().skip(1);
    let (layer, directory) = (args.next().ok_or(usage)?, args.next().ok_or(usage)?);
    let threads = args.next().map_or(Ok(2), |text| text.parse())?;
    let entries = timed("read headers", || -> Result<_> {
        let file = File::open(&layer).map_err(Error::system("open", &layer))?;
        let mut reader = Reader::new(BufReader::new(file), Limits::default());
        let mut entries = Vec::new();
        while let Some(located) = reader.next_entry()? {
            entries.push(located);
        }
        Ok(entries)
    })?;
    let encoded = timed("encode index", || index::encode(&entries));
    timed("decode index", || index::decode(&encoded))?;
    let id = DiffId(Digest::sha256(layer.as_bytes()));
    let (tree, _) = timed("resolve", || Tree::new().apply(&id, &entries))?;
    println!("{} entries, {} paths", entries.len(), tree.n_paths());
    let bytes = OneFile(File::open(&layer)?);
    let contents = TreeContents {
        tree: &tree,
        bytes: &bytes,
    };
    let root = Root::open(Path::new(&directory))?;
    let options = DirectoryOptions {
        owners: Owners::Set,
        devices: Devices::Make,
        threads,
    };
    timed("write tree", || {
        write_tree(&tree, &contents, &root, &options)
    })?;
    Ok(())
}
