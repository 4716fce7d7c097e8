//! Accounts on disk, by the place of a step in its Dockerfile.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use corten_content::{Store, atomic};
use corten_dockerfile::Instruction;
use corten_spec::{Algorithm, Digest, Hasher};

use crate::explain::account::{Account, Files};
use crate::{BuildRequest, Error, Result};

/// Where a step is: the same step of a later build is found by it.
#[derive(Clone, Copy)]
pub(crate) struct Position<'a> {
    pub(crate) request: &'a BuildRequest,
    pub(crate) stage: &'a str,
    pub(crate) number: usize,
    pub(crate) instruction: &'a Instruction,
}

const MAGIC: &[u8] = b"corten explain 2\n";
/// What a record may take once it is decompressed.
const MOST_BYTES: u64 = 32 << 20;

/// Returns the directory of the records.
pub(crate) fn directory(store: &Store) -> PathBuf {
    store.cache_dir().join("explain")
}

impl Position<'_> {
    /// Returns what is on record for a step with this text, else for the step that was at this number.
    pub(crate) fn read(&self, store: &Store) -> Option<Account> {
        let directory = directory(store);
        let by_text = load(&directory.join(self.by_text()));
        by_text.or_else(|| {
            let pointer = fs::read(directory.join(self.by_number())).ok()?;
            let name = Digest::known(pointer.strip_prefix(b"= ").and_then(text)?)?;
            load(&directory.join(name.encoded()))
        })
    }

    /// Tells whether there is anything about a step with this text.
    pub(crate) fn is_on_record(&self, store: &Store) -> bool {
        directory(store).join(self.by_text()).exists()
    }

    /// Records `account`.
    pub(crate) fn write(&self, store: &Store, account: &Account) -> Result<()> {
        let directory = directory(store);
        if !directory.is_dir() {
            fs::create_dir_all(&directory).map_err(Error::system("create", &directory))?;
        }
        let name = self.by_text();
        let path = directory.join(&name);
        let bytes = encode(account).map_err(Error::system("write", &path))?;
        atomic::write_unsynced(&path, &bytes)?;
        let pointer = format!("= sha256:{name}");
        let path = directory.join(self.by_number());
        Ok(atomic::write_unsynced(&path, pointer.as_bytes())?)
    }

    fn by_text(&self) -> String {
        self.name("text", &self.instruction.original)
    }

    fn by_number(&self) -> String {
        self.name("number", &self.number.to_string())
    }

    fn name(&self, kind: &str, what: &str) -> String {
        let context = std::path::absolute(&self.request.context);
        let context = context.unwrap_or_else(|_| self.request.context.clone());
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let fields = [
            context.as_os_str().as_encoded_bytes(),
            self.request.file_name.as_bytes(),
            self.stage.as_bytes(),
            kind.as_bytes(),
            what.as_bytes(),
        ];
        for field in fields {
            hasher.update(&(field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        hasher.finish().encoded().to_owned()
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The account as JSON on one line, then the files, all of it compressed: digests do not shrink, paths
/// do.
fn encode(account: &Account) -> io::Result<Vec<u8>> {
    let mut plain = serde_json::to_vec(account)?;
    plain.push(b'\n');
    plain.push(u8::from(account.files.is_cut));
    plain.extend_from_slice(&account.files.bytes);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(zstd::bulk::compress(&plain, 1)?);
    Ok(bytes)
}

/// Returns `None` for what is not there or damaged.
fn load(path: &Path) -> Option<Account> {
    let mut file = File::open(path).ok()?;
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).ok()?;
    if magic != MAGIC {
        return None;
    }
    let mut plain = Vec::new();
    let decoder = zstd::Decoder::new(file).ok()?;
    decoder.take(MOST_BYTES).read_to_end(&mut plain).ok()?;
    let end = plain.iter().position(|&byte| byte == b'\n')?;
    let (line, rest) = plain.split_at_checked(end)?;
    let mut account: Account = serde_json::from_slice(line).ok()?;
    account.files = Files {
        is_cut: *rest.get(1)? != 0,
        bytes: rest.get(2..)?.to_vec(),
    };
    Some(account)
}
