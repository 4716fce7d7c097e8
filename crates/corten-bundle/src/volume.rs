//! Files and directories of the host in a container: the argument of `-v`.

use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

/// A bind mount that the caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeMount {
    /// What is mounted: an absolute path of the host, which must be there.
    pub source: PathBuf,
    /// Where: an absolute path in the container.
    pub destination: String,
    /// Whether the container may change it.
    pub access: Access,
}

/// Whether something mounted can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It can.
    Write,
    /// It cannot.
    ReadOnly,
}

impl VolumeMount {
    /// Reads `SOURCE:DESTINATION[:ro|rw]`; a source such as `./data` is taken from `here`, an absolute
    /// path.
    ///
    /// # Errors
    /// Refuses what we cannot honour: volumes by name, which nobody keeps here, and other options.
    pub fn parse(text: &str, here: &Path) -> Result<Self> {
        let invalid = |reason| Error::InvalidMount {
            text: text.to_owned(),
            reason,
        };
        let mut parts = text.split(':');
        let (Some(source), Some(destination), options, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid("expected `SOURCE:DESTINATION[:ro]`"));
        };
        let access = match options {
            None | Some("rw") => Access::Write,
            Some("ro") => Access::ReadOnly,
            Some(_) => return Err(invalid("its only options are `ro` and `rw`")),
        };
        if source.is_empty() {
            return Err(invalid("there is no source"));
        }
        if !source.starts_with('/') && !matches!(source.split('/').next(), Some("." | "..")) {
            return Err(invalid(
                "its source is a name; volumes are not kept, so give a path, such as `./data`",
            ));
        }
        if !is_destination(destination) {
            return Err(invalid(
                "its destination is not an absolute path below the root",
            ));
        }
        Ok(Self {
            source: here.join(source),
            destination: destination.to_owned(),
            access,
        })
    }
}

fn is_destination(path: &str) -> bool {
    let mut has_name = false;
    for component in Path::new(path).components() {
        match component {
            Component::Normal(_) => has_name = true,
            Component::ParentDir => return false,
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    has_name && path.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        #[track_caller]
        fn check(text: &str, expected: std::result::Result<(&str, &str, Access), &str>) {
            let found = VolumeMount::parse(text, Path::new("/here"));
            match expected {
                Ok((source, destination, access)) => {
                    let expected = VolumeMount {
                        source: source.into(),
                        destination: destination.into(),
                        access,
                    };
                    assert_eq!(found.unwrap(), expected, "{text:?}");
                }
                Err(part) => {
                    let error = found.unwrap_err().to_string();
                    assert!(error.contains(part), "{text:?}: {error}");
                }
            }
        }
        check("/a:/b", Ok(("/a", "/b", Access::Write)));
        check("/a:/b:rw", Ok(("/a", "/b", Access::Write)));
        check("./a:/b/c:ro", Ok(("/here/./a", "/b/c", Access::ReadOnly)));
        check(".:/b", Ok(("/here/.", "/b", Access::Write)));
        check("../a:/b", Ok(("/here/../a", "/b", Access::Write)));
        check("/a", Err("expected `SOURCE:DESTINATION[:ro]`"));
        check("/a:/b:ro:x", Err("expected `SOURCE:DESTINATION[:ro]`"));
        check("/a:/b:z", Err("only options"));
        check(":/b", Err("no source"));
        check("data:/b", Err("its source is a name"));
        check(".data:/b", Err("its source is a name"));
        check("/a:b", Err("not an absolute path"));
        check("/a:/", Err("not an absolute path"));
        check("/a:/b/../..", Err("not an absolute path"));
    }
}
