//! Why bake files cannot be used.

/// Why bake files cannot be used; nothing was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file breaks its grammar.
    #[error("cannot read `{file}`: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// A block, an attribute or a key that is not known, or cannot be honoured.
    #[error("`{name}` of {place} is not supported{reason}")]
    Unsupported {
        /// What it is in.
        place: String,
        /// What it is called.
        name: String,
        /// Why, with what goes before it; empty for something unknown.
        reason: &'static str,
    },
    /// A value has another form than it must.
    #[error("`{name}` of {place} is {found}, and is to be {expected}")]
    Form {
        /// What it is in.
        place: String,
        /// What it is called.
        name: String,
        /// What it is.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// An expression has no value.
    #[error("cannot work out `{name}` of {place}: {reason}")]
    Evaluate {
        /// What it is in.
        place: String,
        /// The attribute or variable.
        name: String,
        /// Why.
        reason: String,
    },
    /// What a variable must be, by its `validation`, it is not.
    #[error("the variable `{name}` is refused: {message}")]
    Invalid {
        /// The variable.
        name: String,
        /// What the file says to that.
        message: String,
    },
    /// A target or group that is named is not there.
    #[error("there is no target or group `{name}`{needed_by}")]
    Unknown {
        /// What is named.
        name: String,
        /// By what, with what goes before it.
        needed_by: String,
    },
    /// Targets, or groups, need each other.
    #[error("`{name}` needs itself, by way of `{by}`")]
    Cycle {
        /// One of them.
        name: String,
        /// The way.
        by: String,
    },
    /// There is more than anyone needs.
    #[error("there are more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A target that is built for several platforms needs one that is not built for all of them.
    #[error("the target `{name}` is for {platform}, and `{needed}`, which it needs, is not")]
    Platforms {
        /// The target.
        name: String,
        /// The target that it needs.
        needed: String,
        /// A platform that is not there.
        platform: String,
    },
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
