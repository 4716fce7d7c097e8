//! Programs for other processors: what the kernel runs them with (`binfmt_misc`), and whether it does.
//!
//! Emulators are registered with the kernel, by the first bytes of the programs that they run. With the
//! flag `F` the kernel keeps the emulator open, and it works in every root; without, it looks for the
//! emulator's path in the root of the program.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, Mode, OFlags, memfd_create, open};

/// How programs for a processor run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// By this machine's own processor, or by something registered where it cannot be looked at.
    Directly,
    /// By an emulator that works in every root.
    Everywhere(Emulator),
    /// By an emulator that has to be in the root of the program, at its path.
    InRoot(Emulator),
    /// Not at all.
    Not(Missing),
}

/// Why programs for a processor do not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is registered for them.
    Unregistered,
    /// An emulator is registered and switched off.
    Disabled,
    /// The processor runs them, and the filter of system calls does not let it.
    Filtered,
}

/// An emulator as it is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// Under which name.
    pub name: String,
    /// Its path.
    pub interpreter: PathBuf,
    is_enabled: bool,
    is_kept_open: bool,
    offset: usize,
    magic: Vec<u8>,
    mask: Vec<u8>,
}

impl Emulator {
    /// Reads an entry of `/proc/sys/fs/binfmt_misc`; `None` for one that goes by the names of files
    /// (kernel, Documentation/admin-guide/binfmt-misc.rst).
    pub fn parse(name: &str, text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let is_enabled = lines.next()? == "enabled";
        let mut emulator = Self {
            name: name.to_owned(),
            interpreter: PathBuf::new(),
            is_enabled,
            is_kept_open: false,
            offset: 0,
            magic: Vec::new(),
            mask: Vec::new(),
        };
        for line in lines {
            let (key, value) = line.split_once(' ').unwrap_or((line, ""));
            match key {
                "interpreter" => emulator.interpreter = value.into(),
                "flags:" => emulator.is_kept_open = value.contains('F'),
                "offset" => emulator.offset = value.parse().ok()?,
                "magic" => emulator.magic = bytes(value)?,
                "mask" => emulator.mask = bytes(value)?,
                _ => {}
            }
        }
        (!emulator.magic.is_empty()).then_some(emulator)
    }

    /// Tells whether it is for a program that begins with `header`.
    fn is_for(&self, header: &[u8]) -> bool {
        let Some(start) = header.get(self.offset..) else {
            return false;
        };
        let mask = self.mask.iter().copied().chain(std::iter::repeat(0xff));
        let mut pairs = self.magic.iter().zip(mask).enumerate();
        pairs.all(|(at, (magic, mask))| {
            start
                .get(at)
                .is_some_and(|byte| byte & mask == magic & mask)
        })
    }
}

/// Finds out how programs for `architecture`, in Go's words, run on this machine.
///
/// A program of that kind is started, which does nothing.
pub fn emulation(architecture: &str) -> Runs {
    if architecture == host() {
        return Runs::Directly;
    }
    let Some(machine) = Machine::of(architecture) else {
        return Runs::Not(Missing::Unregistered);
    };
    let header = machine.program();
    let registered = registered(Path::new("/proc/sys/fs/binfmt_misc"));
    let runs = chosen(&registered, &header);
    match runs {
        // What is registered outside of a container works in it, and cannot be seen there.
        Runs::Not(Missing::Unregistered) if starts(&header) => {
            if is_filtered(architecture) {
                Runs::Not(Missing::Filtered)
            } else {
                Runs::Directly
            }
        }
        runs => runs,
    }
}

/// Returns what the kernel would take of `registered`.
fn chosen(registered: &[Emulator], header: &[u8]) -> Runs {
    let mut missing = Missing::Unregistered;
    for emulator in registered.iter().filter(|one| one.is_for(header)) {
        match (emulator.is_enabled, emulator.is_kept_open) {
            (true, true) => return Runs::Everywhere(emulator.clone()),
            (true, false) => return Runs::InRoot(emulator.clone()),
            (false, _) => missing = Missing::Disabled,
        }
    }
    Runs::Not(missing)
}

fn registered(directory: &Path) -> Vec<Emulator> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        // These two are for registering.
        let is_entry = name != "register" && name != "status";
        let text = is_entry.then(|| fs::read_to_string(entry.path()))?.ok()?;
        Emulator::parse(&name, &text)
    };
    let mut found: Vec<_> = entries.flatten().filter_map(read).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// Tells whether programs for `architecture` that start here most likely do so by the processor itself. The
/// filter of system calls kills those; an emulator is a program of this machine's own architecture.
fn is_filtered(architecture: &str) -> bool {
    matches!((host(), architecture), ("amd64", "386") | ("arm64", "arm"))
}

/// Starts `program` from memory, and tells whether it ended well.
fn starts(program: &[u8]) -> bool {
    let start = || -> std::io::Result<bool> {
        let file = memfd_create("corten-probe", MemfdFlags::empty())?;
        rustix::io::write(&file, program)?;
        // What is open for writing cannot be executed.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let readable = open(&path, OFlags::RDONLY, Mode::empty())?;
        drop(file);
        // An emulator opens it again, so it stays open on execution.
        let mut command = Command::new(format!("/proc/self/fd/{}", readable.as_raw_fd()));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command.stderr(Stdio::null()).status()?.success())
    };
    start().unwrap_or_default()
}

/// A processor: how ELF calls it, and how a program ends on it.
struct Machine {
    number: u16,
    is_64: bool,
    is_little: bool,
    /// `exit(0)`.
    code: &'static [u8],
    flags: u32,
}

impl Machine {
    fn of(architecture: &str) -> Option<Self> {
        let (number, is_64, is_little, flags, code): (_, _, _, _, &[u8]) = match architecture {
            "386" => (
                3,
                false,
                true,
                0,
                &[0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80],
            ),
            "amd64" => (
                62,
                true,
                true,
                0,
                &[0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05],
            ),
            "arm" => (
                40,
                false,
                true,
                0x0500_0000,
                &[0, 0, 0xa0, 0xe3, 1, 0x70, 0xa0, 0xe3, 0, 0, 0, 0xef],
            ),
            "arm64" => (
                183,
                true,
                true,
                0,
                &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4],
            ),
            "riscv64" => (
                243,
                true,
                true,
                4,
                &[0x13, 5, 0, 0, 0x93, 8, 0xd0, 5, 0x73, 0, 0, 0],
            ),
            "ppc64le" => (
                21,
                true,
                true,
                2,
                &[1, 0, 0, 0x38, 0, 0, 0x60, 0x38, 2, 0, 0, 0x44],
            ),
            "s390x" => (22, true, false, 0, &[0xa7, 0x29, 0, 0, 0x0a, 1]),
            "loong64" => (
                258,
                true,
                true,
                3,
                &[4, 0, 0x80, 3, 0x0b, 0x74, 0x81, 3, 0, 0, 0x2b, 0],
            ),
            _ => return None,
        };
        Some(Self {
            number,
            is_64,
            is_little,
            code,
            flags,
        })
    }

    /// Returns a program that ends at once (System V ABI, "Object Files").
    fn program(&self) -> Vec<u8> {
        const BASE: u64 = 0x40_0000;
        let (header, segment) = if self.is_64 { (64, 56) } else { (52, 32) };
        let mut elf = Vec::new();
        let class = if self.is_64 { 2 } else { 1 };
        let order = if self.is_little { 1 } else { 2 };
        elf.extend([0x7f, b'E', b'L', b'F', class, order, 1]);
        elf.resize(16, 0);
        let start = header + segment;
        let n_bytes = start + self.code.len() as u64;
        for half in [2, self.number] {
            self.put(&mut elf, u64::from(half), 2);
        }
        let word = if self.is_64 { 8 } else { 4 };
        self.put(&mut elf, 1, 4);
        self.put(&mut elf, BASE + start, word);
        self.put(&mut elf, header, word);
        self.put(&mut elf, 0, word);
        self.put(&mut elf, u64::from(self.flags), 4);
        for half in [header, segment, 1, 0, 0, 0] {
            self.put(&mut elf, half, 2);
        }
        let readable_and_executable = 5;
        self.put(&mut elf, 1, 4);
        if self.is_64 {
            self.put(&mut elf, readable_and_executable, 4);
        }
        for field in [0, BASE, BASE, n_bytes, n_bytes] {
            self.put(&mut elf, field, word);
        }
        if !self.is_64 {
            self.put(&mut elf, readable_and_executable, 4);
        }
        self.put(&mut elf, 0x1_0000, word);
        elf.extend_from_slice(self.code);
        elf
    }

    fn put(&self, elf: &mut Vec<u8>, value: u64, n_bytes: usize) {
        let all = value.to_le_bytes();
        let field = all.get(..n_bytes).unwrap_or(&all);
        if self.is_little {
            elf.extend_from_slice(field);
        } else {
            elf.extend(field.iter().rev());
        }
    }
}

/// This machine's processor, in Go's words.
fn host() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AARCH64: &str = "interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P
flags: POCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
";

    #[test]
    fn what_is_registered_decides() {
        #[track_caller]
        fn check(texts: &[&str], architecture: &str, expected: &str) {
            let parsed = texts
                .iter()
                .filter_map(|text| Emulator::parse("qemu", text));
            let parsed: Vec<_> = parsed.collect();
            let found = match chosen(&parsed, &Machine::of(architecture).unwrap().program()) {
                Runs::Directly => "directly".to_owned(),
                Runs::Everywhere(by) => format!("everywhere {}", by.interpreter.display()),
                Runs::InRoot(by) => format!("in root {}", by.interpreter.display()),
                Runs::Not(missing) => format!("{missing:?}"),
            };
            assert_eq!(found, expected, "{texts:?} {architecture}");
        }
        let enabled = format!("enabled\n{AARCH64}");
        let path = "/usr/libexec/qemu-binfmt/aarch64-binfmt-P";
        check(&[&enabled], "arm64", &format!("everywhere {path}"));
        check(&[&enabled], "arm", "Unregistered");
        check(&[&enabled], "s390x", "Unregistered");
        check(&[], "arm64", "Unregistered");
        check(&[&format!("disabled\n{AARCH64}")], "arm64", "Disabled");
        let in_root = enabled.replace("POCF", "OC");
        check(&[&in_root], "arm64", &format!("in root {path}"));
        let by_name = "enabled\ninterpreter /usr/bin/wine\nflags: \nextension .exe\n";
        check(&[by_name, "", "x"], "arm64", "Unregistered");
        check(&["enabled\nmagic 7f4\nmask zz"], "arm64", "Unregistered");
        check(
            &["enabled\noffset 99999\nmagic 7f"],
            "arm64",
            "Unregistered",
        );
    }

    #[test]
    fn a_program_for_this_machine_starts() {
        let machine = Machine::of(host()).unwrap();
        assert!(starts(&machine.program()));
        let mut other = machine.program();
        other[18] = 0xee;
        assert!(!starts(&other));
        assert_eq!(emulation(host()), Runs::Directly);
        assert_eq!(emulation("wasm"), Runs::Not(Missing::Unregistered));
        // Nobody registers an emulator for what the processor itself runs, and the kernel may not do it.
        if cfg!(target_arch = "x86_64") {
            let is_run = starts(&Machine::of("386").unwrap().program());
            let expected = if is_run {
                Missing::Filtered
            } else {
                Missing::Unregistered
            };
            assert_eq!(emulation("386"), Runs::Not(expected));
        }
    }
}
