//! The options of `RUN --mount`: their names, values and which go together, as BuildKit has it.

use super::run::Mount;
use crate::diagnostic::Diagnostic;
use crate::suggest;

/// What a mount mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountType {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// Who may use a cache at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// Everyone.
    #[default]
    Shared,
    /// One: another one gets a cache of its own.
    Private,
    /// One: another one waits.
    Locked,
}

/// The options of a mount with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountOptions {
    pub(crate) kind: MountType,
    pub(crate) from: String,
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) id: String,
    pub(crate) readonly: bool,
    pub(crate) required: bool,
    pub(crate) size: Option<u64>,
    pub(crate) sharing: Option<Sharing>,
    pub(crate) env: Option<String>,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
}

/// What is wrong with an option, and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    message: String,
    label: Option<String>,
}

impl Problem {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            label: None,
        }
    }

    fn near(message: String, word: &str, options: &[&'static str]) -> Self {
        let near = suggest::nearest(word, options.iter().copied());
        Self {
            message,
            label: near.map(|near| format!("did you mean `{near}`?")),
        }
    }

    pub(crate) fn at(self, span: crate::diagnostic::Span) -> Diagnostic {
        let diagnostic = Diagnostic::new(self.message, span);
        match self.label {
            Some(label) => diagnostic.with_label(label),
            None => diagnostic,
        }
    }
}

const NAMES: [&str; 19] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "size",
    "mode",
    "uid",
    "gid",
    "env",
];
const SWITCHES: [&str; 5] = ["readonly", "ro", "readwrite", "rw", "required"];
const TYPES: [&str; 5] = ["bind", "cache", "tmpfs", "secret", "ssh"];
const SHARINGS: [&str; 3] = ["shared", "private", "locked"];

/// Checks what shows before variables have values: all of it if there are none.
pub(super) fn check(mount: &Mount) -> Result<(), Diagnostic> {
    for (key, value) in &mount.options {
        check_name(key, value.as_deref()).map_err(|problem| problem.at(mount.span))?;
    }
    let is_plain = |value: &String| !value.contains(['$', '\\', '"', '\'']);
    if mount
        .options
        .iter()
        .all(|(_, value)| value.iter().all(is_plain))
    {
        read(&mount.options).map_err(|problem| problem.at(mount.span))?;
    }
    Ok(())
}

fn check_name(key: &str, value: Option<&str>) -> Result<(), Problem> {
    if !NAMES.contains(&key) {
        let message = format!("unknown mount option `{key}`");
        return Err(Problem::near(message, key, &NAMES));
    }
    match (key, value) {
        (_, None) if !SWITCHES.contains(&key) => Err(Problem::new(format!(
            "the mount option `{key}` needs a value"
        ))),
        ("from", Some(from)) if from.find('$').is_some_and(|at| at + 1 < from.len()) => {
            Err(Problem {
                message: "variables are not expanded in `from`".to_owned(),
                label: Some("name a stage with FROM … AS and use that".to_owned()),
            })
        }
        _ => Ok(()),
    }
}

/// Reads options whose variables are expanded. The order counts: `required` and `size` go behind the
/// type that has them.
pub(crate) fn read(options: &[(String, Option<String>)]) -> Result<MountOptions, Problem> {
    let mut read = MountOptions {
        kind: MountType::Bind,
        from: String::new(),
        source: String::new(),
        target: String::new(),
        id: String::new(),
        readonly: false,
        required: false,
        size: None,
        sharing: None,
        env: None,
        mode: None,
        uid: None,
        gid: None,
    };
    let mut readonly = None;
    for (key, value) in options {
        check_name(key, value.as_deref())?;
        let text = value.as_deref().unwrap_or_default();
        let switch = || value.as_deref().map_or(Ok(true), |text| boolean(key, text));
        match key.as_str() {
            "type" => read.kind = kind(text)?,
            "from" => text.clone_into(&mut read.from),
            "source" | "src" => text.clone_into(&mut read.source),
            "target" | "dst" | "destination" => text.clone_into(&mut read.target),
            "readonly" | "ro" => readonly = Some(switch()?),
            "readwrite" | "rw" => readonly = Some(!switch()?),
            "required" if matches!(read.kind, MountType::Secret | MountType::Ssh) => {
                read.required = switch()?;
            }
            "size" if read.kind == MountType::Tmpfs => read.size = size(text)?,
            "required" | "size" => return Err(misplaced(key, read.kind)),
            "id" => text.clone_into(&mut read.id),
            "sharing" => read.sharing = Some(sharing(text)?),
            "mode" => read.mode = Some(number(key, text, 8)?),
            "uid" => read.uid = Some(number(key, text, 10)?),
            "gid" => read.gid = Some(number(key, text, 10)?),
            _ => read.env = Some(text.to_owned()),
        }
    }
    // What is mounted from somewhere is read-only unless it is asked for.
    read.readonly = readonly.unwrap_or(!matches!(read.kind, MountType::Cache | MountType::Tmpfs));
    check_together(&read)?;
    Ok(read)
}

fn check_together(read: &MountOptions) -> Result<(), Problem> {
    let has_owner = matches!(
        read.kind,
        MountType::Secret | MountType::Ssh | MountType::Cache
    );
    let given = [
        ("mode", read.mode.is_some()),
        ("uid", read.uid.is_some()),
        ("gid", read.gid.is_some()),
    ];
    if let Some((key, _)) = given.iter().find(|(_, is_given)| *is_given && !has_owner) {
        return Err(misplaced(key, read.kind));
    }
    if read.sharing.is_some() && read.kind != MountType::Cache {
        return Err(misplaced("sharing", read.kind));
    }
    match read.kind {
        MountType::Secret if !read.from.is_empty() => Err(misplaced("from", read.kind)),
        MountType::Secret
            if read.source.is_empty() && read.target.is_empty() && read.id.is_empty() =>
        {
            Err(Problem::new("a secret needs an `id` or a `target`"))
        }
        MountType::Secret if !read.source.is_empty() && !read.id.is_empty() => Err(Problem::new(
            "a secret has either an `id` or a `source`, which mean the same",
        )),
        MountType::Ssh if !read.source.is_empty() => Err(misplaced("source", read.kind)),
        MountType::Bind
        | MountType::Cache
        | MountType::Tmpfs
        | MountType::Secret
        | MountType::Ssh => Ok(()),
    }
}

fn misplaced(key: &str, kind: MountType) -> Problem {
    let kind = match kind {
        MountType::Bind => "bind",
        MountType::Cache => "cache",
        MountType::Tmpfs => "tmpfs",
        MountType::Secret => "secret",
        MountType::Ssh => "ssh",
    };
    let needs_order = matches!(key, "required" | "size");
    Problem {
        message: format!("a mount of type `{kind}` has no option `{key}`"),
        label: needs_order.then(|| "`type` must stand before it".to_owned()),
    }
}

fn kind(text: &str) -> Result<MountType, Problem> {
    Ok(match text.to_lowercase().as_str() {
        "bind" => MountType::Bind,
        "cache" => MountType::Cache,
        "tmpfs" => MountType::Tmpfs,
        "secret" => MountType::Secret,
        "ssh" => MountType::Ssh,
        _ => {
            let message = format!("unknown mount type `{text}`");
            return Err(Problem::near(message, text, &TYPES));
        }
    })
}

fn sharing(text: &str) -> Result<Sharing, Problem> {
    Ok(match text.to_lowercase().as_str() {
        "shared" => Sharing::Shared,
        "private" => Sharing::Private,
        "locked" => Sharing::Locked,
        _ => {
            let message = format!("unknown way of sharing `{text}`");
            return Err(Problem::near(message, text, &SHARINGS));
        }
    })
}

fn boolean(key: &str, text: &str) -> Result<bool, Problem> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(Problem::new(format!(
            "`{key}` is either true or false, not `{text}`"
        ))),
    }
}

fn number(key: &str, text: &str, radix: u32) -> Result<u32, Problem> {
    // `parse` takes a sign, which Go's `ParseUint` does not.
    let is_number = !text.starts_with('+');
    let number = is_number.then(|| u32::from_str_radix(text, radix).ok());
    number
        .flatten()
        .ok_or_else(|| Problem::new(format!("`{text}` is no {key}")))
}

/// Returns a number of bytes, as in `128m` or `1.5GiB`; nothing for 0, which is no limit.
fn size(text: &str) -> Result<Option<u64>, Problem> {
    let problem = || {
        let message = format!("`{text}` is no size");
        Problem {
            message,
            label: Some("expected a number and a unit, such as `128m`".to_owned()),
        }
    };
    let end = text.rfind(|c: char| c.is_ascii_digit() || c == '.');
    let (number, unit) = end
        .and_then(|end| text.split_at_checked(end + 1))
        .ok_or_else(problem)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit).to_ascii_lowercase();
    let shift = match unit.as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(problem()),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return Err(problem());
    }
    let whole: u64 = whole.parse().map_err(|_| problem())?;
    // Nine digits of a fraction say more than any size needs.
    let fraction: u64 = format!("{fraction:0<9.9}").parse().map_err(|_| problem())?;
    let unit = 1_u64 << shift;
    let part = u128::from(fraction) * u128::from(unit) / 1_000_000_000;
    let total = whole
        .checked_mul(unit)
        .and_then(|whole| whole.checked_add(u64::try_from(part).ok()?))
        .filter(|total| i64::try_from(*total).is_ok())
        .ok_or_else(problem)?;
    Ok((total > 0).then_some(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        #[track_caller]
        fn check(text: &str, expected: u64) {
            let found = size(text).map(Option::unwrap_or_default);
            assert_eq!(found, Ok(expected), "{text:?}");
        }
        check("128m", 128 << 20);
        check("128MiB", 128 << 20);
        check("1.5g", 3 << 29);
        check("64 kb", 64 << 10);
        check("7", 7);
        check("0", 0);
        let wrong = [
            "",
            "m",
            "-1m",
            "1x",
            "1mm",
            "1.2.3m",
            ".5m",
            "+1",
            "16384p",
            "9223372036854775808",
        ];
        for text in wrong {
            assert!(size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn switches_and_numbers() {
        assert_eq!(boolean("ro", "T").ok(), Some(true));
        assert_eq!(boolean("ro", "yes").ok(), None);
        assert_eq!(number("mode", "0755", 8).ok(), Some(0o755));
        assert_eq!(number("mode", "888", 8).ok(), None);
        assert_eq!(number("uid", "+1", 10).ok(), None);
        assert_eq!(number("uid", "4294967296", 10).ok(), None);
    }
}
