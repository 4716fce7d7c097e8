//! Layers in a few words, as raw tars: whatever a hostile tool may write, not only what ours would.
//!
//! An entry is `KIND PATH [-> TARGET] [KEY=VALUE]...`. The kind is `f`ile, `d`irectory, symbolic
//! `l`ink, `h`ard link, `c`haracter or `b`lock device, `p`ipe, or `t:X` for the typeflag `X`; `zero`
//! is a block of zeros and `end` are two. `%0A` is the byte of that number and `{d/*9}` nine times
//! `d/`. A file holds the number of its layer unless `text=` says otherwise.

use corten_tar::padding;

/// Returns a tar of `lines`, the layer called `number`, with an end marker.
pub(super) fn tar_of(lines: &[&str], number: usize) -> Vec<u8> {
    let mut tar = Vec::new();
    for line in lines {
        match *line {
            "zero" => tar.resize(tar.len() + 512, 0),
            "end" => tar.resize(tar.len() + 1024, 0),
            line => entry(line, number, &mut tar),
        }
    }
    tar.resize(tar.len() + 1024, 0);
    tar
}

/// What one line says.
#[derive(Default)]
struct Line {
    flag: u8,
    path: Vec<u8>,
    link: Vec<u8>,
    mode: u64,
    owner: (u64, u64),
    mtime: u64,
    device: (u64, u64),
    magic: &'static [u8],
    body: Vec<u8>,
    size: Option<u64>,
    is_damaged: bool,
    records: Vec<u8>,
}

fn entry(text: &str, number: usize, tar: &mut Vec<u8>) {
    let line = parse(text, number);
    if !line.records.is_empty() {
        let extended = Line {
            flag: b'x',
            path: b"pax".to_vec(),
            magic: USTAR,
            body: line.records.clone(),
            ..Line::default()
        };
        put(&extended, tar);
    }
    put(&line, tar);
}

const USTAR: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";
const V7: &[u8] = b"\0\0\0\0\0\0\0\0";

fn parse(text: &str, number: usize) -> Line {
    let mut words = text.split(' ');
    let kind = words.next().unwrap();
    let flag = match kind {
        "f" => b'0',
        "h" => b'1',
        "l" => b'2',
        "c" => b'3',
        "b" => b'4',
        "d" => b'5',
        "p" => b'6',
        other => other.strip_prefix("t:").unwrap().as_bytes()[0],
    };
    let is_file = matches!(flag, b'0' | b'7');
    let mut line = Line {
        flag,
        path: bytes_of(words.next().unwrap()),
        mode: if flag == b'5' { 0o755 } else { 0o644 },
        magic: USTAR,
        body: if is_file {
            number.to_string().into()
        } else {
            Vec::new()
        },
        ..Line::default()
    };
    while let Some(word) = words.next() {
        if word == "->" {
            line.link = bytes_of(words.next().unwrap());
            continue;
        }
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "mode" => line.mode = u64::from_str_radix(value, 8).unwrap(),
            "owner" => line.owner = pair(value),
            "dev" => line.device = pair(value),
            "mtime" => match value.parse() {
                Ok(seconds) => line.mtime = seconds,
                Err(_) => record(&mut line.records, b"mtime", value.as_bytes()),
            },
            "text" => line.body = bytes_of(value),
            "size" => line.size = Some(value.parse().unwrap()),
            "sum" => line.is_damaged = true,
            "magic" => line.magic = if value == "gnu" { GNU } else { V7 },
            _ => {
                let key = match key.strip_prefix("xattr.") {
                    Some(name) => [b"SCHILY.xattr.", name.as_bytes()].concat(),
                    None => bytes_of(key.strip_prefix("pax.").unwrap()),
                };
                record(&mut line.records, &key, &bytes_of(value));
            }
        }
    }
    for (field, key) in [(&mut line.path, "path"), (&mut line.link, "linkpath")] {
        if field.len() > 100 {
            record(&mut line.records, key.as_bytes(), field);
            field.truncate(100);
        }
    }
    line
}

fn pair(value: &str) -> (u64, u64) {
    let (left, right) = value.split_once(':').unwrap();
    (left.parse().unwrap(), right.parse().unwrap())
}

/// Appends a PAX record; its length counts its own digits.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut len = rest;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    out.extend_from_slice(format!("{len} ").as_bytes());
    out.extend_from_slice(&[key, b"=", value, b"\n"].concat());
}

fn put(line: &Line, tar: &mut Vec<u8>) {
    let mut header = [0; 512];
    let mut field = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    field(0, &line.path);
    field(100, &number(line.mode, 8));
    field(108, &number(line.owner.0, 8));
    field(116, &number(line.owner.1, 8));
    field(
        124,
        &number(line.size.unwrap_or(line.body.len() as u64), 12),
    );
    field(136, &number(line.mtime, 12));
    field(156, &[line.flag]);
    field(157, &line.link);
    field(257, line.magic);
    field(329, &number(line.device.0, 8));
    field(337, &number(line.device.1, 8));
    field(148, b"        ");
    let sum: u64 = header.iter().map(|&byte| u64::from(byte)).sum();
    let sum = number(sum + u64::from(line.is_damaged), 8);
    header[148..156].copy_from_slice(&sum);
    tar.extend_from_slice(&header);
    tar.extend_from_slice(&line.body);
    tar.resize(tar.len() + padding(line.body.len() as u64), 0);
}

/// Returns `number` in octal, or in base 256 if it does not fit.
fn number(number: u64, len: usize) -> Vec<u8> {
    let octal = format!("{number:0width$o}\0", width = len - 1);
    if octal.len() == len {
        return octal.into_bytes();
    }
    let mut field = vec![0; len];
    let bytes = number.to_be_bytes();
    let skipped = bytes.len().saturating_sub(len - 1);
    field[len - (bytes.len() - skipped)..].copy_from_slice(&bytes[skipped..]);
    field[0] |= 0x80;
    field
}

/// Returns the bytes that `text` stands for.
pub(super) fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let digits = std::str::from_utf8(&after[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &after[2..];
            }
            b'{' => {
                let end = after.iter().position(|&byte| byte == b'}').unwrap();
                let inside = std::str::from_utf8(&after[..end]).unwrap();
                let (what, times) = inside.split_once('*').unwrap();
                bytes.extend_from_slice(&bytes_of(what).repeat(times.parse().unwrap()));
                rest = &after[end + 1..];
            }
            byte => bytes.push(byte),
        }
    }
    bytes
}
