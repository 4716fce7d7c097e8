//! Limits of a process, as getrlimit(2) has them.

use std::fmt;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::CapabilitySet;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::idmap::in_user_namespace;

/// A limit of one resource.
///
/// ```
/// use corten_sandbox::ResourceLimit;
///
/// let limit = ResourceLimit::new("nofile", Some(1024), None).expect("it is a resource");
/// assert_eq!(limit.to_string(), "nofile=1024:-1");
/// assert!(ResourceLimit::new("patience", None, None).is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    name: String,
    soft: Option<u64>,
    hard: Option<u64>,
}

/// Docker's names, which are those of limits.conf(5).
const RESOURCES: [(&str, Resource); 15] = [
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("locks", Resource::Locks),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nice", Resource::Nice),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rss", Resource::Rss),
    ("rtprio", Resource::Rtprio),
    ("rttime", Resource::Rttime),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

impl ResourceLimit {
    /// Makes a limit of the resource called `name`, as in limits.conf(5); `None` if there is none, or if
    /// `soft` is more than `hard`. A value that is absent is no limit.
    pub fn new(name: &str, soft: Option<u64>, hard: Option<u64>) -> Option<Self> {
        let is_known = RESOURCES.iter().any(|(known, _)| *known == name);
        let is_sound = soft.unwrap_or(u64::MAX) <= hard.unwrap_or(u64::MAX);
        (is_known && is_sound).then(|| Self {
            name: name.to_owned(),
            soft,
            hard,
        })
    }

    /// Returns the names of all resources.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RESOURCES.iter().map(|(name, _)| *name)
    }

    fn resource(&self) -> Option<Resource> {
        let mut known = RESOURCES.iter();
        known.find_map(|(name, resource)| (*name == self.name).then_some(*resource))
    }

    /// Sets it for this process.
    pub(crate) fn set(&self) -> Result<(), Errno> {
        let resource = self.resource().ok_or(Errno::INVAL)?;
        let limit = Rlimit {
            current: self.soft,
            maximum: self.hard,
        };
        setrlimit(resource, limit)
    }
}

impl fmt::Display for ResourceLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: Option<u64>| value.map_or("-1".to_owned(), |value| value.to_string());
        write!(f, "{}={}:{}", self.name, value(self.soft), value(self.hard))
    }
}

/// Says whether this process may set `limits` for what it starts.
///
/// # Errors
/// [`Error::ResourceLimit`] for the first that is above what this process has itself, which only root of
/// the machine may raise.
pub fn check_resource_limits(limits: &[ResourceLimit]) -> Result<(), Error> {
    let held = rustix::thread::capabilities(None).map(|held| held.effective);
    let may_raise = held.is_ok_and(|held| held.contains(CapabilitySet::SYS_RESOURCE));
    if may_raise && !in_user_namespace() {
        return Ok(());
    }
    for limit in limits {
        let own = limit.resource().map(|resource| getrlimit(resource).maximum);
        if let Some(Some(own)) = own
            && limit.hard.unwrap_or(u64::MAX) > own
        {
            return Err(Error::ResourceLimit {
                limit: limit.to_string(),
                own,
            });
        }
    }
    Ok(())
}
