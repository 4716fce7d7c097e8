//! What files of the host are copied from: directories and tars, the build context and named ones.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corten_content::Store;
use corten_dockerfile::Ignore;
use corten_layer::beneath::{Links, Root};
use corten_layer::scan::{
    Descend, Found, FoundKind, Xattrs, ctime_of, inspect_root, scan_choosing,
};
use corten_layer::tree::{File, Kind};
use corten_layer::{Contents, Data, Item, Meta, Put, Tree, TreeBuilder};
use corten_tar::LayerLimits;
use rustix::fs::OFlags;

use crate::copy::{Archive, SourceOwners};
use crate::digests::{Known, Stamp};
use crate::reach::{Position, Reach};
use crate::{Error, Result};

/// What a directory or a tar of the host holds, as a tree: copying from it is copying from any tree.
#[derive(Debug)]
pub(crate) struct HostTree {
    pub(crate) tree: Arc<Tree>,
    pub(crate) files: HostFiles,
    /// The part that was examined.
    pub(crate) reach: Reach,
}

/// The files of a [`HostTree`].
#[derive(Debug)]
pub(crate) enum HostFiles {
    Directory(DirectoryFiles),
    Archive(Archive),
}

/// The files of a directory, by the number that [`Data::External`] holds.
#[derive(Debug)]
pub(crate) struct DirectoryFiles {
    root: Root,
    /// When the first of them was looked at.
    examined_at: SystemTime,
    found: Vec<HostFile>,
}

/// The number of what has no content to be read.
const NO_FILE: u64 = u64::MAX;

#[derive(Debug)]
struct HostFile {
    path: Vec<u8>,
    stamp: Stamp,
}

impl HostTree {
    /// Examines `path`, a directory as [`scan`](Self::scan) does, or an uncompressed tar, all of it.
    pub(crate) fn open(
        path: &Path,
        ignore: &Ignore,
        reach: Reach,
        limits: &LayerLimits,
        store: Option<&Store>,
    ) -> Result<Self> {
        if path.is_file() {
            return Self::of_tar(path, limits);
        }
        Self::scan(path, ignore, reach, store)
    }

    fn of_tar(path: &Path, limits: &LayerLimits) -> Result<Self> {
        let file = fs::File::open(path).map_err(Error::system("open", path))?;
        let archive = Archive::of_file(file, limits).map_err(|source| {
            use std::os::unix::ffi::OsStrExt as _;
            Error::Archive {
                path: path.as_os_str().as_bytes().into(),
                source,
            }
        })?;
        Ok(Self {
            tree: Arc::clone(&archive.tree),
            files: HostFiles::Archive(archive),
            reach: Reach::all(),
        })
    }

    /// Returns whose the files are in the image unless `--chown` says it: as for BuildKit, a tar says
    /// so itself, and the owners on this machine mean nothing in an image.
    pub(crate) fn owners(&self) -> SourceOwners {
        match self.files {
            HostFiles::Directory(_) => SourceOwners::Root,
            HostFiles::Archive(_) => SourceOwners::Keep,
        }
    }

    /// Examines what is below `path` and in `reach`, and `ignore` does not leave out.
    ///
    /// If a symbolic link leads out of `reach`, everything below `path` is examined: with the whole
    /// tree at hand, following links is a matter of the tree alone.
    ///
    /// Files belong to root in the tree, as they will in the image; sockets, which no layer can hold,
    /// are empty files.
    fn scan(path: &Path, ignore: &Ignore, reach: Reach, store: Option<&Store>) -> Result<Self> {
        let root = Root::open(path)?;
        let known = store.map(|store| Known::open(store, &root));
        let part = Self::scan_as(root, ignore, reach, known.as_ref(), owned_by_root)?;
        if let Some(part) = part {
            return Ok(part);
        }
        let (root, all) = (Root::open(path)?, Reach::all());
        let whole = Self::scan_as(root, ignore, all, known.as_ref(), owned_by_root)?;
        Ok(whole.expect("no link leads out of everything"))
    }

    /// Examines everything below `path`, a directory that this program keeps: owners mean there what
    /// they mean in an image.
    pub(crate) fn with_owners(path: &Path) -> Result<Self> {
        let (root, ignore) = (Root::open(path)?, Ignore::default());
        let all = Self::scan_as(root, &ignore, Reach::all(), None, with_its_owner)?;
        Ok(all.expect("no link leads out of everything"))
    }

    /// Returns `None` if a link leads out of `reach`.
    fn scan_as(
        root: Root,
        ignore: &Ignore,
        reach: Reach,
        known: Option<&Known>,
        meta: fn(&Found) -> Meta,
    ) -> Result<Option<Self>> {
        let examined_at = SystemTime::now();
        let top = inspect_root(&root, Xattrs::Leave)?;
        let mut part = Scan {
            ignore,
            is_whole: reach == Reach::all(),
            reach: &reach,
            is_left: false,
            meta,
            tree: TreeBuilder::new(meta(&top)),
            excluded: HashMap::new(),
            found: Vec::new(),
            links: HashMap::new(),
        };
        // Asking for attributes takes longer than all else there is to ask of a file.
        let xattrs = |found: &Found| {
            let is_file = found.kind == FoundKind::File;
            let remembered = known
                .filter(|_| is_file)
                .and_then(|known| known.find(&stamp_of(found)));
            match remembered.map(|remembered| remembered.is_plain) {
                Some(true) => Xattrs::Leave,
                Some(false) | None => Xattrs::Read,
            }
        };
        scan_choosing(&root, b"", &xattrs, &mut |path, found| {
            part.visit(path, found)
        })?;
        if part.is_left {
            return Ok(None);
        }
        let (tree, found) = (part.tree.finish(), part.found);
        settle(&found);
        Ok(Some(Self {
            tree: Arc::new(tree),
            files: HostFiles::Directory(DirectoryFiles {
                root,
                examined_at,
                found,
            }),
            reach,
        }))
    }
}

/// The longest tick of the clock that Linux takes times of files from: that of a kernel with 100 Hz.
const TICK: Duration = Duration::from_millis(10);

/// Waits until no file can change any more without getting another ctime than it was examined with.
///
/// A file is read twice: for the key of its step, and for the layer. Two changes within one tick leave one
/// ctime, so that the key could be that of the first content and the layer hold the second, for as long
/// as the record of it lives. Times of the future are those of a clock that was set back, and tell nothing.
fn settle(found: &[HostFile]) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let Ok(now) = now else {
        return;
    };
    let changed = found.iter().filter_map(|file| {
        let seconds = u64::try_from(file.stamp.ctime.0).ok()?;
        Some(Duration::new(seconds, file.stamp.ctime.1))
    });
    let latest = changed.filter(|changed| *changed <= now).max();
    let left = latest.and_then(|latest| latest.saturating_add(TICK).checked_sub(now));
    if let Some(left) = left {
        std::thread::sleep(left);
    }
}

/// Reads the file `name` of the context at `path`, a directory or an uncompressed tar; `None` if there
/// is no such file. Links are followed inside the context.
///
/// # Errors
/// Fails if the file is longer than `longest` bytes, or the tar is damaged.
pub fn read_context_file(
    path: &Path,
    name: &Path,
    limits: &LayerLimits,
    longest: u64,
) -> Result<Option<Vec<u8>>> {
    use std::os::unix::ffi::OsStrExt as _;
    let failed = |error| Error::system("read", path.join(name))(error);
    let bytes = name.as_os_str().as_bytes();
    if !path.is_file() {
        let root = Root::open(path)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let file = match root.open_at(bytes, flags, Links::FollowInside) {
            Ok(file) => fs::File::from(file),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        if !file.metadata().map_err(failed)?.is_file() {
            return Ok(None);
        }
        return read_to(file, longest).map(Some).map_err(failed);
    }
    let host = HostTree::of_tar(path, limits)?;
    let Some(id) = host.tree.follow(bytes)? else {
        return Ok(None);
    };
    let Kind::File(file) = &host.tree.node(id).kind else {
        return Ok(None);
    };
    let content = host.files.open(file).map_err(failed)?;
    read_to(content, longest).map(Some).map_err(failed)
}

fn read_to(content: impl Read, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::other(format!(
            "it is longer than {longest} bytes"
        )));
    }
    Ok(bytes)
}

struct Scan<'a> {
    ignore: &'a Ignore,
    reach: &'a Reach,
    is_whole: bool,
    /// Whether a link leads out of `reach`.
    is_left: bool,
    /// What a file has in the tree of what it has here.
    meta: fn(&Found) -> Meta,
    tree: TreeBuilder,
    /// The directories that are there only if something in them is.
    excluded: HashMap<Vec<u8>, Put>,
    found: Vec<HostFile>,
    links: HashMap<(u64, u64), u64>,
}

/// Returns what tells the content of a file from others.
fn stamp_of(found: &Found) -> Stamp {
    Stamp {
        device: found.inode.0,
        inode: found.inode.1,
        size: found.size,
        mtime: (found.meta.mtime.seconds, found.meta.mtime.nanoseconds),
        ctime: found.ctime,
    }
}

impl Scan<'_> {
    fn visit(&mut self, path: &[u8], found: Found) -> corten_layer::Result<Descend> {
        if self.is_left || self.reach.position(path) == Position::Outside {
            return Ok(Descend::Past);
        }
        let is_directory = found.kind == FoundKind::Directory;
        if !self.ignore.is_empty() && self.ignore.decide(path).excluded {
            // An excluded directory is part of the context only if something in it is.
            let may_hold = is_directory && self.ignore.may_contain_included_children(path);
            if !may_hold {
                return Ok(Descend::Past);
            }
            let put = Put::directory((self.meta)(&found));
            self.excluded.insert(path.to_vec(), put);
            return Ok(Descend::Into);
        }
        let meta = (self.meta)(&found);
        let group = (found.n_links > 1 && !is_directory).then(|| self.group_of(&found));
        let item = match found.kind {
            // BuildKit copies an empty file in its place.
            FoundKind::Socket => Item::File(File {
                size: 0,
                data: Data::External(NO_FILE),
                sparse: None,
            }),
            FoundKind::Directory => Item::Directory,
            FoundKind::Symlink(target) => {
                self.is_left |= !self.is_whole && !self.reach.holds_target(path, &target);
                Item::Symlink(target)
            }
            FoundKind::Device {
                block,
                major,
                minor,
            } => Item::Device {
                block,
                major,
                minor,
            },
            FoundKind::Fifo => Item::Fifo,
            FoundKind::File => Item::File(File {
                size: found.size,
                data: Data::External(self.number_of(HostFile {
                    path: path.to_vec(),
                    stamp: stamp_of(&found),
                })),
                sparse: None,
            }),
        };
        // A name that no layer can hold is an error once it is copied, not when it is seen; the
        // ordinary way to leave it out is an ignore file.
        self.add_ways_to(path)?;
        self.tree.add(path, Put { item, meta, group })?;
        Ok(Descend::Into)
    }

    /// Adds the directories that lead to `path` and are there because it is: as they are, not as those
    /// that a tree makes by itself.
    fn add_ways_to(&mut self, path: &[u8]) -> corten_layer::Result<()> {
        if self.excluded.is_empty() {
            return Ok(());
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (end, _) in slashes {
            let directory = path.get(..end).unwrap_or_default();
            if let Some(put) = self.excluded.remove(directory) {
                self.tree.add(directory, put)?;
            }
        }
        Ok(())
    }

    fn number_of(&mut self, file: HostFile) -> u64 {
        self.found.push(file);
        self.found.len() as u64 - 1
    }

    fn group_of(&mut self, found: &Found) -> u64 {
        let next = self.links.len() as u64;
        *self.links.entry(found.inode).or_insert(next)
    }
}

/// What the files of a context are in an image: root's, with the attributes that mean the same on
/// every machine and are read by every user.
fn owned_by_root(found: &Found) -> Meta {
    let mut meta = with_its_owner(found);
    (meta.uid, meta.gid) = (0, 0);
    meta
}

fn with_its_owner(found: &Found) -> Meta {
    let kept = |(name, _): &&(Vec<u8>, Vec<u8>)| {
        (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
            || name == b"security.capability"
    };
    let xattrs = found.meta.xattrs().iter().filter(kept).cloned().collect();
    let Meta {
        mode,
        uid,
        gid,
        mtime,
        ..
    } = found.meta;
    Meta::new(mode, uid, gid, mtime).with_extended(xattrs, Vec::new())
}

impl HostFiles {
    /// Returns the files of a directory: those of a tar have nothing that outlives the build.
    pub(crate) fn directory(&self) -> Option<&DirectoryFiles> {
        match self {
            Self::Directory(files) => Some(files),
            Self::Archive(_) => None,
        }
    }
}

impl DirectoryFiles {
    /// Returns the directory.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Returns when the first of the files was looked at: no attribute was read before.
    pub(crate) fn examined_at(&self) -> SystemTime {
        self.examined_at
    }

    /// Returns what tells the content of a file from what it was before and from that of others.
    pub(crate) fn stamp(&self, file: &File) -> Option<Stamp> {
        Some(self.found_of(file)?.stamp)
    }

    fn found_of(&self, file: &File) -> Option<&HostFile> {
        let Data::External(number) = file.data else {
            return None;
        };
        self.found.get(usize::try_from(number).ok()?)
    }
}

impl Contents for HostFiles {
    fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        match self {
            Self::Directory(files) => files.open(file),
            Self::Archive(archive) => archive.open(file),
        }
    }
}

impl Contents for DirectoryFiles {
    /// Opens a file; reading it fails if it is not the one that was examined.
    fn open<'a>(&'a self, file: &'a File) -> io::Result<Box<dyn Read + Send + 'a>> {
        if file.data == Data::External(NO_FILE) {
            return Ok(Box::new(io::empty()));
        }
        let found = self.found_of(file);
        let found = found.ok_or_else(|| io::Error::other("the file is not in the context"))?;
        // Opening a pipe that took the file's place must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = fs::File::from(self.root.open_at(&found.path, flags, Links::Refuse)?);
        if found.stamp.size == 0 {
            // Nobody reads of what is known to be empty.
            found.check(&opened)?;
        }
        Ok(Box::new(Unchanged {
            file: opened,
            found,
            n_read: 0,
        }))
    }
}

impl HostFile {
    /// Fails if `opened` is not the file that was examined, as it was then.
    fn check(&self, opened: &fs::File) -> io::Result<()> {
        let stat = rustix::fs::fstat(opened)?;
        let is_same = (stat.st_dev, stat.st_ino) == (self.stamp.device, self.stamp.inode)
            && stat.st_size.cast_unsigned() == self.stamp.size
            && ctime_of(&stat) == self.stamp.ctime;
        if is_same {
            Ok(())
        } else {
            Err(io::Error::other("it changed while the image was built"))
        }
    }
}

/// A file that is looked at after the first read, since that may be the only one, and once all of it was
/// read: what is recorded of its content was read another time, and both have to be the same. Most
/// files take one read, and are looked at once.
struct Unchanged<'a> {
    file: fs::File,
    found: &'a HostFile,
    n_read: u64,
}

impl Read for Unchanged<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let is_first = self.n_read == 0;
        let n_read = self.file.read(buf)?;
        self.n_read = self.n_read.saturating_add(n_read as u64);
        // Who knows the size reads no further than it.
        let is_all = self.n_read >= self.found.stamp.size || (n_read == 0 && !buf.is_empty());
        if is_first || is_all {
            self.found.check(&self.file)?;
        }
        Ok(n_read)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;
    use crate::digests::Remembered;

    /// Reads `n_bytes` of a file, changes it, and reads as many again.
    #[track_caller]
    fn check(len: usize, n_bytes: usize) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let file = fs::File::create(&path).unwrap();
        file.write_all_at(&vec![b'a'; len], 0).unwrap();
        let host =
            HostTree::scan(directory.path(), &Ignore::default(), Reach::all(), None).unwrap();
        let Kind::File(found) = &host.tree.node(host.tree.exact(b"f").unwrap()).kind else {
            panic!("it is no file");
        };
        let mut whole = Vec::new();
        let opened = host.files.open(found).unwrap();
        opened.take(len as u64).read_to_end(&mut whole).unwrap();
        assert_eq!(whole, vec![b'a'; len]);

        let mut opened = host.files.open(found).unwrap();
        opened.read_exact(&mut vec![0; n_bytes]).unwrap();
        file.write_all_at(b"b", 0).unwrap();
        let error = opened.read_exact(&mut vec![0; len - n_bytes]);
        let error = error.and_then(|()| opened.read_to_end(&mut whole));
        assert_eq!(
            error.unwrap_err().to_string(),
            "it changed while the image was built",
            "{n_bytes} of {len}"
        );
        let again = host.files.open(found);
        assert!(again.and_then(|mut again| again.read(&mut [0])).is_err());
    }

    #[test]
    fn files_are_not_read_in_the_tick_in_which_they_changed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        fs::File::create(&path).unwrap();
        HostTree::scan(directory.path(), &Ignore::default(), Reach::all(), None).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let stat = rustix::fs::stat(&path).unwrap();
        let (seconds, nanoseconds) = ctime_of(&stat);
        let changed = Duration::new(seconds.cast_unsigned(), nanoseconds);
        let age = now.unwrap().checked_sub(changed).unwrap();
        assert!(age >= TICK, "{age:?}");
    }

    #[test]
    fn attributes_are_read_unless_it_is_known_that_there_are_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store")).unwrap();
        let context = directory.path().join("context");
        fs::create_dir(&context).unwrap();
        let path = context.join("f");
        fs::File::create(&path).unwrap();
        let set = |value: &[u8]| {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(&path, "user.a", value, flags).unwrap();
        };
        let scan = || {
            let all = Reach::all();
            HostTree::scan(&context, &Ignore::default(), all, Some(&store)).unwrap()
        };
        let attributes_of = |host: &HostTree| {
            let node = host.tree.node(host.tree.exact(b"f").unwrap());
            node.meta.xattrs().to_vec()
        };
        set(b"1");
        let host = scan();
        assert_eq!(attributes_of(&host), [(b"user.a".to_vec(), b"1".to_vec())]);

        // A lie, to see that it is believed as long as the file is the same.
        let Kind::File(file) = &host.tree.node(host.tree.exact(b"f").unwrap()).kind else {
            panic!("it is no file");
        };
        let files = host.files.directory().unwrap();
        let lie = Remembered {
            digest: [0; 32],
            is_plain: true,
        };
        let stamp = files.stamp(file).unwrap();
        let later = SystemTime::now() + Duration::from_mins(1);
        Known::open(&store, files.root())
            .add(vec![(stamp, lie)], later)
            .unwrap();
        assert_eq!(attributes_of(&scan()), []);
        set(b"2");
        assert_eq!(
            attributes_of(&scan()),
            [(b"user.a".to_vec(), b"2".to_vec())]
        );
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_an_error() {
        check(100_000, 1);
        check(100_000, 99_999);
        check(1, 0);
    }
}
