//! Where images are: what users write for a place, and how it is opened.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use corten_content::{Durability, Layout, Sink, Source, Store};
use corten_registry::{Client, Repository};
use corten_spec::{Descriptor, Digest, Platform, Reference};
use corten_tar::LayerLimits;
use corten_transport::{Archive, ArchiveWriter, Format, ReadOptions};

use crate::context::Context;
use crate::error::CommandError;
use crate::registry::RegistryArgs;
use crate::rootfs;

/// A place that an image is in or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// `NAME`: the local store.
    Store(Name),
    /// `docker://NAME`: a registry.
    Registry(Reference),
    /// `oci:DIR[:TAG|@DIGEST]`: an image layout. The name is empty for the only image.
    Layout(PathBuf, String),
    /// `oci-archive:FILE[:TAG]` and `docker-archive:FILE[:NAME]`.
    Archive(Format, PathBuf, String),
}

/// What an image in the local store is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    /// A full normalised reference.
    Reference(Reference),
    /// The digest of its manifest or index.
    Digest(Digest),
}

/// Places that other tools have and we do not know yet.
const NOT_YET: [&str; 5] = [
    "dir",
    "docker-daemon",
    "containers-storage",
    "docker-store",
    "containerd",
];

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digest = match text.strip_prefix('@') {
            Some(digest) => Some(
                digest
                    .parse()
                    .map_err(|error: corten_spec::Error| error.to_string())?,
            ),
            None => Digest::known(text),
        };
        if let Some(digest) = digest {
            return Ok(Self::Digest(digest));
        }
        let reference: Result<Reference, _> = text.parse();
        reference
            .map(|reference| Self::Reference(reference.or_latest()))
            .map_err(|error| error.to_string())
    }
}

/// Reads what an image of the local store is called, or is to be called.
///
/// What would be read as another place where any place may stand is refused: `oci:out` is a reference
/// by its grammar, but who writes it means the directory `out`, and who has an image of that name can
/// write it in full.
pub(crate) fn store_name(text: &str) -> Result<Name, String> {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    if NOT_YET.contains(&scheme) || !matches!(text.parse(), Ok(Place::Store(_)) | Err(_)) {
        let mut message = format!("`{scheme}:` begins another place than the local store");
        let full = format!("docker.io/library/{text}");
        if full.parse::<Name>().is_ok() {
            write!(message, "; `{full}` is a name").expect("writing to a string does not fail");
        }
        return Err(message);
    }
    text.parse()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(reference) => reference.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once(':') else {
            return text.parse().map(Self::Store);
        };
        match scheme {
            "docker" => {
                let name = rest.strip_prefix("//").ok_or("expected `docker://NAME`")?;
                let reference: Reference = name
                    .parse()
                    .map_err(|error: corten_spec::Error| error.to_string())?;
                Ok(Self::Registry(reference.or_latest()))
            }
            "oci" => {
                let (path, name) = split_name(rest)?;
                Ok(Self::Layout(path, name))
            }
            "oci-archive" => {
                let (path, name) = split_name(rest)?;
                Ok(Self::Archive(Format::Oci, path, name))
            }
            "docker-archive" => {
                let (path, name) = split_name(rest)?;
                Ok(Self::Archive(Format::Docker, path, name))
            }
            _ if NOT_YET.contains(&scheme) => Err(format!("`{scheme}:` is not supported yet")),
            _ => text.parse().map(Self::Store),
        }
    }
}

/// Splits `PATH[:NAME]` or `PATH[@DIGEST]`; as for other tools, the path ends at the first colon.
fn split_name(text: &str) -> Result<(PathBuf, String), String> {
    let digest = text
        .rsplit_once('@')
        .filter(|(_, digest)| Digest::known(digest).is_some());
    let (path, name) = digest
        .or_else(|| text.split_once(':'))
        .unwrap_or((text, ""));
    if path.is_empty() {
        return Err("there is no path".to_owned());
    }
    Ok((path.into(), name.to_owned()))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, path, name) = match self {
            Self::Store(name) => return name.fmt(f),
            Self::Registry(reference) => return write!(f, "docker://{reference}"),
            Self::Layout(path, name) => ("oci", path, name),
            Self::Archive(Format::Oci, path, name) => ("oci-archive", path, name),
            Self::Archive(Format::Docker, path, name) => ("docker-archive", path, name),
        };
        write!(f, "{scheme}:{}", path.display())?;
        match name.as_str() {
            "" => Ok(()),
            digest if Digest::known(digest).is_some() => write!(f, "@{digest}"),
            name => write!(f, ":{name}"),
        }
    }
}

/// A place that is open for reading, and the image there.
pub(crate) struct Opened {
    /// The place.
    pub(crate) source: Box<dyn Source>,
    /// What the image is called there.
    pub(crate) name: String,
    /// Who talks to the registry, if the place is one.
    pub(crate) client: Option<Client>,
}

impl Opened {
    /// Finds what the image's name stands for.
    pub(crate) fn resolve(&self, platform: &Platform) -> corten_content::Result<Descriptor> {
        self.source.resolve_for(&self.name, platform)
    }
}

impl Place {
    /// Opens the place to read from it.
    pub(crate) fn open(
        &self,
        ctx: &Context,
        registry: &RegistryArgs,
    ) -> Result<Opened, CommandError> {
        let failed = |error| CommandError::doing(format!("cannot open `{self}`"), error);
        let mut client = None;
        let (source, name): (Box<dyn Source>, String) = match self {
            Self::Store(name) => (Box::new(ctx.store()?), name.to_string()),
            Self::Registry(reference) => {
                let (repository, used) = registry.repository(ctx, reference)?;
                client = Some(used);
                (Box::new(repository), reference.identifier().to_owned())
            }
            Self::Layout(path, name) => {
                (Box::new(Layout::open(path).map_err(failed)?), name.clone())
            }
            Self::Archive(format, path, name) => {
                let archive = open_archive(ctx, path, *format)?;
                (Box::new(archive), name.clone())
            }
        };
        Ok(Opened {
            source,
            name,
            client,
        })
    }

    /// Tells whether what is written there is on standard output.
    pub(crate) fn is_stdout(&self) -> bool {
        matches!(self, Self::Archive(_, path, _) if rootfs::is_stdout(path))
    }

    /// Opens the place to write to it; an archive `-` is standard output.
    pub(crate) fn create(
        &self,
        ctx: &Context,
        registry: &RegistryArgs,
    ) -> Result<Destination, CommandError> {
        let doing = || format!("cannot write to `{self}`");
        Ok(match self {
            Self::Store(Name::Digest(_)) => {
                return Err(CommandError::usage(format!(
                    "`{self}` is a digest, and a name is needed"
                )));
            }
            Self::Store(Name::Reference(reference)) => {
                Destination::Store(Box::new(ctx.store()?), reference.to_string())
            }
            Self::Registry(reference) => {
                let (repository, client) = registry.repository(ctx, reference)?;
                let tag = reference.tag().map(str::to_owned);
                Destination::Registry(Box::new(repository), client, tag)
            }
            Self::Layout(path, name) => {
                let layout = Layout::create(path, Durability::Full);
                let layout = layout.map_err(|error| CommandError::doing(doing(), error))?;
                Destination::Layout(Box::new(layout), name.clone())
            }
            Self::Archive(format, path, name) => {
                rootfs::refuse_terminal(path)?;
                let writer = archive_writer(ctx, path, *format);
                let writer = writer.map_err(|error| CommandError::doing(doing(), error))?;
                Destination::Archive {
                    writer: Box::new(writer),
                    name: name.clone(),
                }
            }
        })
    }
}

/// Opens an archive; `-` is standard input.
pub(crate) fn open_archive(
    ctx: &Context,
    path: &Path,
    format: Format,
) -> Result<Archive, CommandError> {
    let mut options = ReadOptions::new(&ctx.scratch());
    let limits = ctx.change_limits(LayerLimits {
        archive: options.limits,
        decoding: options.decoding,
    });
    (options.limits, options.decoding) = (limits.archive, limits.decoding);
    let archive = if path == Path::new("-") {
        Archive::from_stream(Box::new(std::io::stdin()), "-", format, &options)
    } else {
        Archive::open(path, format, &options)
    };
    archive.map_err(|error| CommandError::doing(format!("cannot open `{}`", path.display()), error))
}

/// Starts an archive; `-` is standard output.
pub(crate) fn archive_writer(
    ctx: &Context,
    path: &Path,
    format: Format,
) -> corten_transport::Result<ArchiveWriter> {
    if rootfs::is_stdout(path) {
        let stdout = Box::new(std::io::stdout());
        return ArchiveWriter::to_stream(stdout, "-", &ctx.scratch(), format);
    }
    ArchiveWriter::create(path, format)
}

/// A place that is open for writing, with what the image will be called there.
pub(crate) enum Destination {
    /// The local store.
    Store(Box<Store>, String),
    /// A registry; without a tag, the digest alone is what the image is found by.
    Registry(Box<Repository>, Client, Option<String>),
    /// An image layout; the name may be empty.
    Layout(Box<Layout>, String),
    /// An archive; the name may be empty.
    Archive {
        writer: Box<ArchiveWriter>,
        name: String,
    },
}

impl Destination {
    /// Returns where content goes.
    pub(crate) fn sink(&self) -> &dyn Sink {
        match self {
            Self::Store(store, _) => &**store,
            Self::Registry(repository, ..) => &**repository,
            Self::Layout(layout, _) => &**layout,
            Self::Archive { writer, .. } => &**writer,
        }
    }

    /// Returns the local store, if the place is that.
    pub(crate) fn store(&self) -> Option<&Store> {
        match self {
            Self::Store(store, _) => Some(store),
            Self::Registry(..) | Self::Layout(..) | Self::Archive { .. } => None,
        }
    }

    /// Returns who talks to the registry, if the place is one.
    pub(crate) fn client(&self) -> Option<&Client> {
        match self {
            Self::Registry(_, client, _) => Some(client),
            Self::Store(..) | Self::Layout(..) | Self::Archive { .. } => None,
        }
    }

    /// Tells whether an image there has one platform.
    pub(crate) fn has_one_platform(place: &Place) -> bool {
        matches!(place, Place::Archive(Format::Docker, ..))
    }

    /// Gives `content`, which is there, its name, and makes the whole visible.
    pub(crate) fn finish(self, content: &Descriptor) -> Result<(), CommandError> {
        let failed = |place: String| {
            move |error| CommandError::doing(format!("cannot name the image in {place}"), error)
        };
        match self {
            Self::Store(store, name) => store.tag(&name, content).map_err(failed(name)),
            Self::Registry(_, _, None) => Ok(()),
            Self::Registry(repository, _, Some(tag)) => repository
                .tag(&tag, content)
                .map_err(failed(Sink::place(&*repository))),
            Self::Layout(layout, name) => {
                let named = if name.is_empty() {
                    layout.add(content)
                } else {
                    layout.tag(&name, content)
                };
                named.map_err(failed(Sink::place(&*layout)))
            }
            Self::Archive { writer, name } => {
                let named = if name.is_empty() {
                    writer.add(content)
                } else {
                    writer.tag(&name, content)
                };
                named.map_err(failed(Sink::place(&*writer)))?;
                writer.finish().map_err(CommandError::caused)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        #[track_caller]
        fn check(text: &str, expected: Result<&str, &str>) {
            let place = text.parse::<Place>().map(|place| place.to_string());
            let place = place.as_deref().map_err(String::as_str);
            assert_eq!(place, expected, "{text:?}");
        }
        let digest = Digest::sha256(b"");
        check("debian", Ok("docker.io/library/debian:latest"));
        check("localhost:5000/a:1", Ok("localhost:5000/a:1"));
        check("a:5000/b", Ok("a:5000/b:latest"));
        check(digest.as_str(), Ok(digest.as_str()));
        check(
            "docker://debian:12",
            Ok("docker://docker.io/library/debian:12"),
        );
        check("docker:debian", Err("expected `docker://NAME`"));
        check("oci:some/dir", Ok("oci:some/dir"));
        check("oci:dir:v1", Ok("oci:dir:v1"));
        check(
            &format!("oci:dir@{digest}"),
            Ok(&format!("oci:dir@{digest}")),
        );
        check("oci:d@r:v1", Ok("oci:d@r:v1"));
        check("oci:", Err("there is no path"));
        check(
            "oci-archive:a.tar:docker.io/library/a:1",
            Ok("oci-archive:a.tar:docker.io/library/a:1"),
        );
        check("docker-archive:a.tar", Ok("docker-archive:a.tar"));
        check("dir:x", Err("`dir:` is not supported yet"));
        check(
            "docker-daemon:x:y",
            Err("`docker-daemon:` is not supported yet"),
        );
    }
}
