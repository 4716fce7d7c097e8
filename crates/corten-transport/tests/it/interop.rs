//! The same images through skopeo, podman, Docker and GNU tar.
//!
//! An image's id, the digest of its config, is what must come through; what the tools do to
//! manifests and compression is theirs. Versions are printed beside the results.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use corten_content::{CopyOptions, Sink, Source, copy, load_image};
use corten_spec::{Digest, media_type};
use corten_tar::{Compression, DecodeLimits, Decoder, Entry, EntryKind, Writer};
use corten_testing::Image;
use corten_transport::{Archive, ArchiveWriter, Format, ReadOptions};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::fixture::compressed;

const NAME: &str = "registry.example/acme/app:1";

/// Says that a test does not run, unless all of `tools` are there; prints their versions.
fn tools(test: &str, tools: &[&str]) -> bool {
    for tool in tools {
        match Command::new(tool).arg("--version").output() {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                println!("{}", text.lines().next().unwrap_or_default());
            }
            Err(error) => {
                println!("not run: {test}: {tool}: {error}");
                return false;
            }
        }
    }
    true
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout.trim().to_owned()
}

fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let entry = Entry {
        size: bytes.len() as u64,
        mode: 0o755,
        ..Entry::new(EntryKind::File, name)
    };
    writer.entry(&entry, &mut &bytes[..]).unwrap();
    writer.finish().unwrap()
}

/// An image with a shell, a second layer in a form to be chosen, and an empty layer twice.
struct Fixture {
    dir: TempDir,
    image: Image,
    tars: Vec<Vec<u8>>,
}

impl Fixture {
    /// Returns `None`, having said so, without a busybox.
    fn new(test: &str, second: Compression) -> Option<Self> {
        let paths = ["/usr/bin/busybox", "/bin/busybox"];
        let Some(busybox) = paths.iter().find_map(|path| fs::read(path).ok()) else {
            println!("not run: {test}: there is no busybox");
            return None;
        };
        let empty = Writer::new(Vec::new()).finish().unwrap();
        let tars = vec![
            tar("bin/sh", &busybox),
            tar("hello", b"hello"),
            tar("plain", b"plain"),
            empty.clone(),
            empty,
        ];
        let forms = [
            (Compression::Gzip, media_type::OCI_LAYER_GZIP),
            match second {
                Compression::None => (second, media_type::OCI_LAYER),
                Compression::Gzip => (second, media_type::OCI_LAYER_GZIP),
                Compression::Zstd => (second, media_type::OCI_LAYER_ZSTD),
            },
            (Compression::None, media_type::OCI_LAYER),
            (Compression::Gzip, media_type::OCI_LAYER_GZIP),
            (Compression::Gzip, media_type::OCI_LAYER_GZIP),
        ];
        let builder = tars.iter().zip(forms).fold(
            Image::builder().configure(|config| {
                config.config.cmd = Some(vec!["/bin/sh".into()]);
            }),
            |builder, (tar, (compression, media_type))| {
                builder.stored_layer(media_type, &compressed(tar, compression), tar)
            },
        );
        Some(Self {
            dir: tempfile::tempdir().unwrap(),
            image: builder.build(),
            tars,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, format: Format) -> PathBuf {
        let path = self.path(name);
        let writer = ArchiveWriter::create(&path, format).unwrap();
        let Image {
            content, manifest, ..
        } = &self.image;
        copy(content, &writer, manifest, &CopyOptions::default()).unwrap();
        writer.tag(NAME, manifest).unwrap();
        writer.finish().unwrap();
        path
    }

    fn id(&self) -> &Digest {
        &self.image.value.config.digest
    }

    /// Checks that the image is in the archive as what it was: the same config, the same tars.
    #[track_caller]
    fn check(&self, path: &Path, format: Format, name: &str) {
        let archive = Archive::open(path, format, &ReadOptions::new(self.dir.path())).unwrap();
        let root = archive.resolve(name).unwrap();
        let image = load_image(&archive, &root, &"linux/amd64".parse().unwrap()).unwrap();
        assert_eq!(
            &image.config.descriptor.digest,
            self.id(),
            "{}",
            path.display()
        );
        for (layer, tar) in image.manifest.value.layers.iter().zip(&self.tars) {
            let reader = corten_content::open(&archive, layer).unwrap();
            let mut reader = Decoder::new(Box::new(reader), DecodeLimits::default()).unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
            assert!(bytes == *tar, "{}: {layer:?}", path.display());
        }
    }
}

/// Returns `transport:PATH:name` for skopeo and podman.
fn at(transport: &str, path: &Path, name: &str) -> String {
    format!("{transport}:{}:{name}", path.display())
}

#[test]
fn skopeo() {
    let test = "skopeo";
    for second in [Compression::Gzip, Compression::Zstd] {
        let Some(fixture) = Fixture::new(test, second).filter(|_| tools(test, &["skopeo"])) else {
            return;
        };
        let skopeo = |from: &str, to: &str| {
            let mut command = Command::new("skopeo");
            run(command.args(["--insecure-policy", "copy", "-q", from, to]));
        };
        let docker = fixture.write("docker.tar", Format::Docker);
        let saved = fixture.path("docker-2.tar");
        let to = at("docker-archive", &saved, "acme/app:2");
        skopeo(&at("docker-archive", &docker, NAME), &to);
        fixture.check(&saved, Format::Docker, "acme/app:2");
        fixture.check(&saved, Format::Docker, "");

        let oci = fixture.write("oci.tar", Format::Oci);
        let saved = fixture.path("oci-2.tar");
        let to = at("oci-archive", &saved, "a.text_that-is-no_reference");
        skopeo(&at("oci-archive", &oci, "1"), &to);
        fixture.check(&saved, Format::Oci, "a.text_that-is-no_reference");

        // Skopeo 1.9 has no manifest of Docker's for layers with zstd, even where none is written.
        if second != Compression::Zstd {
            let saved = fixture.path("docker-3.tar");
            let to = at("docker-archive", &saved, "acme/app:3");
            skopeo(&at("oci-archive", &oci, "1"), &to);
            fixture.check(&saved, Format::Docker, "acme/app:3");
        }
    }
}

#[test]
fn podman() {
    let test = "podman";
    if !geteuid().is_root() {
        println!("not run: {test}: not root");
        return;
    }
    for second in [Compression::Gzip, Compression::Zstd] {
        let Some(fixture) = Fixture::new(test, second).filter(|_| tools(test, &["podman"])) else {
            return;
        };
        for format in [Format::Docker, Format::Oci] {
            let root = fixture.path(&format!("{format}-podman"));
            let podman = |args: &[&OsStr]| {
                let mut command = Command::new("podman");
                command.arg("--root").arg(root.join("root"));
                command.arg("--runroot").arg(root.join("run"));
                run(command.args(["--storage-driver", "vfs"]).args(args))
            };
            let ours = fixture.write(&format!("{format}.tar"), format);
            podman(&["load".as_ref(), "-qi".as_ref(), ours.as_ref()]);
            let show = ["image", "inspect", "--format", "{{.Id}}", NAME];
            let id = podman(&show.map(OsStr::new));
            assert_eq!(id, fixture.id().encoded(), "{format}");
            // Podman 4.3 cannot save an image with zstd in Docker's format.
            if second == Compression::Zstd && format == Format::Docker {
                continue;
            }
            let theirs = fixture.path(&format!("{format}-theirs.tar"));
            let save = ["save", "-q", "--format", &format.to_string(), "-o"].map(str::to_owned);
            let mut args: Vec<_> = save.iter().map(OsStr::new).collect();
            args.extend([theirs.as_os_str(), NAME.as_ref()]);
            podman(&args);
            fixture.check(&theirs, format, NAME);
        }
    }
}

/// A Docker daemon of the test's own, which ends with this value.
struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    /// Starts it, and returns once it listens.
    fn start(dir: &Path) -> Result<Self, String> {
        let socket = dir.join("socket");
        let mut child = Command::new("dockerd")
            .args(["--iptables=false", "--bridge=none", "--storage-driver=vfs"])
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(dir.join("exec"))
            .arg("--pidfile")
            .arg(dir.join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", socket.display()))
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("dockerd: {error}"))?;
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = lines.find_map(|line| {
            let line = line.unwrap_or_default();
            line.contains("API listen on").then_some(())
        });
        let daemon = Self { child, socket };
        // Nobody may read its log, but if the pipe were full, or closed, it would stop.
        std::thread::spawn(move || lines.for_each(drop));
        listening
            .map(|()| daemon)
            .ok_or("dockerd does not start".into())
    }

    #[track_caller]
    fn docker(&self, args: &[&OsStr]) -> String {
        let mut command = Command::new("docker");
        command.arg("--host");
        command.arg(format!("unix://{}", self.socket.display()));
        run(command.args(args))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        self.child.wait().ok();
    }
}

#[test]
fn docker() {
    let test = "docker";
    let Some(fixture) =
        Fixture::new(test, Compression::Zstd).filter(|_| tools(test, &["dockerd", "docker"]))
    else {
        return;
    };
    if !geteuid().is_root() {
        println!("not run: {test}: not root");
        return;
    }
    let daemon = match Daemon::start(fixture.dir.path()) {
        Ok(daemon) => daemon,
        Err(reason) => {
            println!("not run: {test}: {reason}");
            return;
        }
    };
    let ours = fixture.write("ours.tar", Format::Docker);
    let loaded = daemon.docker(&["load".as_ref(), "-i".as_ref(), ours.as_ref()]);
    assert!(loaded.contains(NAME), "{loaded}");
    let show = ["image", "inspect", "--format", "{{.Id}}", NAME];
    let id = daemon.docker(&show.map(OsStr::new));
    assert_eq!(id, fixture.id().to_string());
    let theirs = fixture.path("theirs.tar");
    daemon.docker(&[
        "save".as_ref(),
        "-o".as_ref(),
        theirs.as_ref(),
        NAME.as_ref(),
    ]);
    fixture.check(&theirs, Format::Docker, NAME);
    fixture.check(&theirs, Format::Docker, "");
}

/// Archives that people make by hand from the directory of an image layout.
#[test]
fn gnu_tar() {
    let test = "gnu_tar";
    let Some(mut fixture) = Fixture::new(test, Compression::Gzip).filter(|_| tools(test, &["tar"]))
    else {
        return;
    };
    let mut holes = tar("holes", &vec![0; 1 << 20]);
    holes[1 << 19] = 1;
    fixture.tars = vec![holes.clone()];
    fixture.image = Image::builder().layer(&holes).build();
    let layout = fixture.path("layout");
    fs::create_dir(&layout).unwrap();
    let unpack = |archive: &Path| {
        let mut command = Command::new("tar");
        run(command.arg("-C").arg(&layout).arg("-xf").arg(archive));
    };
    unpack(&fixture.write("ours.tar", Format::Docker));
    // The layer is written anew with a hole, for tar to find.
    let path = layout
        .join("blobs/sha256")
        .join(Digest::sha256(&holes).encoded());
    fs::remove_file(&path).unwrap();
    let file = File::create(&path).unwrap();
    for (idx, block) in holes.chunks(4096).enumerate() {
        if block.iter().any(|byte| *byte != 0) {
            let offset = idx as u64 * 4096;
            std::os::unix::fs::FileExt::write_all_at(&file, block, offset).unwrap();
        }
    }
    file.set_len(holes.len() as u64).unwrap();
    for options in ["-cf", "-czf", "-cSf", "-cSzf"] {
        let again = fixture.path("again.tar");
        let mut command = Command::new("tar");
        command.arg("-C").arg(&layout).arg(options).arg(&again);
        run(command.arg("."));
        for format in [Format::Oci, Format::Docker] {
            fixture.check(&again, format, NAME);
        }
    }
}
