//! Versions of operating systems: which of them run on which.

/// The first build of Windows whose containers need not be of the very same build.
const SERVER_2022: u32 = 20348;
/// Builds of the long-term releases since then.
const LONG_TERM: [u32; 2] = [SERVER_2022, 26100];

/// Returns how far content for the version `offered` is from the version `wanted`: 0 for the same
/// text or no wish, 1 for the same build of Windows, more for an older one that runs all the same.
///
/// Only Windows says which versions run on which (Microsoft's table of compatible versions); for
/// other systems a version is no reason to refuse (IDX-11).
pub(super) fn distance(os: &str, wanted: Option<&str>, offered: Option<&str>) -> Option<u32> {
    let Some(wanted) = wanted.filter(|_| os == "windows") else {
        return Some(0);
    };
    let Some(offered) = offered else {
        return Some(u32::MAX);
    };
    if wanted == offered {
        return Some(0);
    }
    // A text that is no version says nothing that could be compared.
    let Some(host) = Version::of(wanted) else {
        return Some(u32::MAX);
    };
    let content = Version::of(offered)?;
    if (host.major, host.minor) != (content.major, content.minor) {
        return None;
    }
    let oldest = LONG_TERM.iter().rev().find(|&&build| build <= host.build);
    let runs = match oldest {
        Some(oldest) => (*oldest..=host.build).contains(&content.build),
        None => content.build == host.build,
    };
    runs.then(|| (host.build - content.build).saturating_add(1))
}

/// The parts of a version that decide: `10.0.17763` of `10.0.17763.5329`.
struct Version {
    major: u32,
    minor: u32,
    build: u32,
}

impl Version {
    fn of(version: &str) -> Option<Self> {
        let mut parts = version.split('.').map(|part| part.parse().ok());
        Some(Self {
            major: parts.next()??,
            minor: parts.next()??,
            build: parts.next()??,
        })
    }
}
