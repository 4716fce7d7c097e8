//! The files of AWS's programs: `~/.aws/credentials` and `~/.aws/config`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::{Error, Result, Settings};

/// One profile, of both files.
pub(crate) struct Profile {
    /// What messages call it.
    pub(crate) origin: String,
    values: BTreeMap<String, String>,
}

/// No such file is longer.
const LONGEST: u64 = 1 << 20;

impl Profile {
    /// Reads the profile that `$AWS_PROFILE` names, or `default`. One that is named has to be there.
    pub(crate) fn read(settings: &Settings) -> Result<Option<Self>> {
        let named = named(settings);
        let name = named.unwrap_or("default");
        let of = |variable: &str, usual: &str| {
            let given = settings.value(variable).map(PathBuf::from);
            given.or_else(|| settings.below_home(usual))
        };
        let credentials = of("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
        let config = of("AWS_CONFIG_FILE", ".aws/config");
        let mut values = BTreeMap::new();
        let mut files = Vec::new();
        // What is in both is the one of the credentials.
        for path in [config, credentials].into_iter().flatten() {
            if let Some(text) = text_of(&path)? {
                let found = section(&text, name);
                if !found.is_empty() {
                    files.push(format!("`{}`", path.display()));
                }
                values.extend(found);
            }
        }
        if files.is_empty() {
            return match named {
                Some(name) => Err(Error::Setting {
                    name: "AWS_PROFILE".to_owned(),
                    reason: format!("no file has the profile `{name}`"),
                }),
                None => Ok(None),
            };
        }
        Ok(Some(Self {
            origin: format!("the profile `{name}` of {}", files.join(" and ")),
            values,
        }))
    }

    /// Returns a value of it.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Returns what it would take credentials from that we do not.
    pub(crate) fn unsupported(&self) -> Option<&'static str> {
        let keys = [
            "credential_process",
            "credential_source",
            "source_profile",
            "sso_session",
            "sso_start_url",
        ];
        keys.into_iter().find(|key| self.values.contains_key(*key))
    }
}

/// Returns the profile that is asked for by name.
pub(crate) fn named(settings: &Settings) -> Option<&str> {
    settings.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
}

fn text_of(path: &Path) -> Result<Option<String>> {
    let failed = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let file = match fs::File::open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        file => file.map_err(failed)?,
    };
    let mut text = String::new();
    file.take(LONGEST)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(Some(text))
}

/// Returns the values of `[NAME]`, which is `[profile NAME]` in one of the files.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let mut is_inside = false;
    for line in text.lines() {
        // What is indented belongs to the value before, such as those of one service.
        if line.starts_with([' ', '\t']) || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            let header = header.split(']').next().unwrap_or_default().trim();
            let of = header.strip_prefix("profile").map(str::trim_start);
            is_inside = header == name || of == Some(name);
        } else if let Some((key, value)) = line.split_once('=').filter(|_| is_inside) {
            let value = value.split(" #").next().unwrap_or_default().trim();
            if !value.is_empty() {
                values.insert(key.trim().to_ascii_lowercase(), value.to_owned());
            }
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_profile_says() {
        let text = "\
            # aws_access_key_id = none\n[default]\naws_access_key_id=A\nregion = eu-west-1 # there\n\
            empty =\ns3 =\n  region = none\n[profile ci]\nAws_Access_Key_Id = B=C\n[ other ]\nregion=x\n";
        let find = |name: &str| {
            let values = section(text, name);
            let pairs = values.iter().map(|(key, value)| format!("{key}={value}"));
            pairs.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(find("default"), "aws_access_key_id=A region=eu-west-1");
        assert_eq!(find("ci"), "aws_access_key_id=B=C");
        assert_eq!(find("other"), "region=x");
        assert_eq!(find("absent"), "");
    }
}
