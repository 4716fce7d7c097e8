//! The attributes of targets: their forms, what becomes of them, and what they are for a build.

use crate::entry::Kind;

/// What becomes of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what buildx does with it.
    Done,
    /// It is an error, for this reason.
    Refused(&'static str),
}

/// An attribute of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Whether it is done.
    pub support: Support,
    pub(crate) form: Form,
    /// Whether a list is added to one that is inherited, and does not take its place.
    pub(crate) is_joined: bool,
    /// The flag of a build that it is.
    pub(crate) flag: Option<&'static str>,
}

/// What the value of an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Flag,
    Texts,
    Map,
    /// A list of objects that may be written as texts of `KEY=VALUE` with commas.
    Entries(Kind),
    /// Anything: it is refused, or read elsewhere.
    Any,
}

/// Every attribute that buildx knows.
pub const ATTRIBUTES: &[Attribute] = &[
    joined("annotations", Form::Texts, "--annotation"),
    done("args", Form::Map, Some("--build-arg")),
    joined("attest", Form::Entries(Kind::Attest), "--attest"),
    joined("cache-from", Form::Entries(Kind::Cache), "--cache-from"),
    done("cache-to", Form::Entries(Kind::Cache), Some("--cache-to")),
    done("call", Form::Text, None),
    done("context", Form::Text, None),
    done("contexts", Form::Map, None),
    done("description", Form::Text, None),
    done("dockerfile", Form::Text, None),
    done("dockerfile-inline", Form::Text, None),
    joined("entitlements", Form::Texts, "--allow"),
    done("extra-hosts", Form::Map, None),
    done("inherits", Form::Texts, None),
    done("labels", Form::Map, Some("--label")),
    done("matrix", Form::Any, None),
    done("name", Form::Text, None),
    done("network", Form::Text, Some("--network")),
    done("no-cache", Form::Flag, Some("--no-cache")),
    joined("no-cache-filter", Form::Texts, "--no-cache-filter"),
    done("output", Form::Entries(Kind::Output), Some("--output")),
    done("platforms", Form::Texts, Some("--platform")),
    refused(
        "policy",
        ": policies in Rego are not read; write rules for `--source-policy` of `corten build`",
    ),
    done("pull", Form::Flag, Some("--pull")),
    refused(
        "resources",
        ": limits are not set for a target; run `corten build` with `--memory` and `--cpus`",
    ),
    joined("secret", Form::Entries(Kind::Secret), "--secret"),
    done("shm-size", Form::Text, Some("--shm-size")),
    joined("ssh", Form::Entries(Kind::Ssh), "--ssh"),
    done("tags", Form::Texts, Some("--tag")),
    done("target", Form::Text, Some("--target")),
    joined("ulimits", Form::Texts, "--ulimit"),
];

const fn done(name: &'static str, form: Form, flag: Option<&'static str>) -> Attribute {
    Attribute {
        name,
        support: Support::Done,
        form,
        is_joined: false,
        flag,
    }
}

const fn joined(name: &'static str, form: Form, flag: &'static str) -> Attribute {
    Attribute {
        is_joined: true,
        ..done(name, form, Some(flag))
    }
}

const fn refused(name: &'static str, reason: &'static str) -> Attribute {
    Attribute {
        support: Support::Refused(reason),
        ..done(name, Form::Any, None)
    }
}

/// Returns what is known of an attribute.
pub(crate) fn find(name: &str) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|attribute| attribute.name == name)
}
