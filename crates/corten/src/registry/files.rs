//! The files about registries that other tools have, too: certificates, mirrors, other places.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use corten_registry::Rules;

use crate::env::Environment;
use crate::error::CommandError;

/// Returns the directories with certificates by host, in the order in which they are looked into.
pub(super) fn certificate_directories(env: &Environment) -> Vec<PathBuf> {
    let own = config_home(env).map(|home| home.join("containers/certs.d"));
    let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"];
    own.into_iter().chain(system.map(PathBuf::from)).collect()
}

/// Reads what `registries.conf` and the files beside it say: the user's own one, or else the system's.
pub(super) fn rules(env: &Environment) -> Result<Rules, CommandError> {
    const FILE: &str = "containers/registries.conf";
    const DIRECTORY: &str = "containers/registries.conf.d";
    let own = config_home(env);
    let system = Path::new("/etc");
    let mut rules = Rules::default();
    let mut files = Vec::new();
    if let Some(file) = &env.registries_conf {
        files.push(file.clone());
    } else {
        let usual = own.iter().map(|home| home.join(FILE));
        let mut usual = usual.chain([system.join(FILE)]);
        files.extend(usual.find(|file| file.exists()));
        files.extend(files_in(&system.join(DIRECTORY))?);
        if let Some(home) = &own {
            files.extend(files_in(&home.join(DIRECTORY))?);
        }
    }
    for file in files {
        let failed = |reason: String| {
            CommandError::failed(format!("cannot use `{}`: {reason}", file.display()))
        };
        let text = fs::read_to_string(&file).map_err(|error| failed(error.to_string()))?;
        rules.read(&text).map_err(failed)?;
    }
    Ok(rules)
}

/// Returns the files of a directory that count, in order of their names; none if there is none.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let failed = |error: io::Error| {
        CommandError::doing(format!("cannot read `{}`", directory.display()), error)
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        files.extend(
            path.extension()
                .is_some_and(|it| it == "conf")
                .then_some(path),
        );
    }
    files.sort();
    Ok(files)
}

fn config_home(env: &Environment) -> Option<PathBuf> {
    let usual = || Some(env.home.as_ref()?.join(".config"));
    env.config_home.clone().or_else(usual)
}
