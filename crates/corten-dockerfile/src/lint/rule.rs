//! The rules by name, with BuildKit's words about them.

/// A rule that a Dockerfile can break and still be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`Rule::description` says what each asks for")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JsonArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 22] = [
        Self::StageNameCasing,
        Self::FromAsCasing,
        Self::NoEmptyContinuation,
        Self::ConsistentInstructionCasing,
        Self::DuplicateStageName,
        Self::ReservedStageName,
        Self::JsonArgsRecommended,
        Self::MaintainerDeprecated,
        Self::UndefinedArgInFrom,
        Self::WorkdirRelativePath,
        Self::UndefinedVar,
        Self::MultipleInstructionsDisallowed,
        Self::LegacyKeyValueFormat,
        Self::InvalidBaseImagePlatform,
        Self::RedundantTargetPlatform,
        Self::SecretsUsedInArgOrEnv,
        Self::InvalidDefaultArgInFrom,
        Self::FromPlatformFlagConstDisallowed,
        Self::CopyIgnoredFile,
        Self::InvalidDefinitionDescription,
        Self::ExposeProtoCasing,
        Self::ExposeInvalidFormat,
    ];

    /// Returns the name that `skip` and `experimental` know it by.
    pub fn name(self) -> &'static str {
        self.words().0
    }

    /// Returns what it asks for.
    pub fn description(self) -> &'static str {
        self.words().1
    }

    /// Returns the address of the page about it, if there is one.
    pub fn url(self) -> Option<String> {
        let page = Some(self.words().2).filter(|page| !page.is_empty())?;
        Some(format!(
            "https://docs.docker.com/go/dockerfile/rule/{page}/"
        ))
    }

    /// Tells whether it is applied only where `experimental` names it.
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// Name, description and page.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::StageNameCasing => (
                "StageNameCasing",
                "Stage names should be lowercase",
                "stage-name-casing",
            ),
            Self::FromAsCasing => (
                "FromAsCasing",
                "The 'as' keyword should match the case of the 'from' keyword",
                "from-as-casing",
            ),
            Self::NoEmptyContinuation => (
                "NoEmptyContinuation",
                "Empty continuation lines will become errors in a future release",
                "no-empty-continuation",
            ),
            Self::ConsistentInstructionCasing => (
                "ConsistentInstructionCasing",
                "All commands within the Dockerfile should use the same casing (either upper or \
                 lower)",
                "consistent-instruction-casing",
            ),
            Self::DuplicateStageName => (
                "DuplicateStageName",
                "Stage names should be unique",
                "duplicate-stage-name",
            ),
            Self::ReservedStageName => (
                "ReservedStageName",
                "Reserved words should not be used as stage names",
                "reserved-stage-name",
            ),
            Self::JsonArgsRecommended => (
                "JSONArgsRecommended",
                "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior \
                 related to OS signals",
                "json-args-recommended",
            ),
            Self::MaintainerDeprecated => (
                "MaintainerDeprecated",
                "The MAINTAINER instruction is deprecated, use a label instead to define an image \
                 author",
                "maintainer-deprecated",
            ),
            Self::UndefinedArgInFrom => (
                "UndefinedArgInFrom",
                "FROM command must use declared ARGs",
                "undefined-arg-in-from",
            ),
            Self::WorkdirRelativePath => (
                "WorkdirRelativePath",
                "Relative workdir without an absolute workdir declared within the build can have \
                 unexpected results if the base image changes",
                "workdir-relative-path",
            ),
            Self::UndefinedVar => (
                "UndefinedVar",
                "Variables should be defined before their use",
                "undefined-var",
            ),
            Self::MultipleInstructionsDisallowed => (
                "MultipleInstructionsDisallowed",
                "Multiple instructions of the same type should not be used in the same stage",
                "multiple-instructions-disallowed",
            ),
            Self::LegacyKeyValueFormat => (
                "LegacyKeyValueFormat",
                "Legacy key/value format with whitespace separator should not be used",
                "legacy-key-value-format",
            ),
            Self::InvalidBaseImagePlatform => (
                "InvalidBaseImagePlatform",
                "Base image platform does not match expected target platform",
                "",
            ),
            Self::RedundantTargetPlatform => (
                "RedundantTargetPlatform",
                "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is \
                 the default behavior",
                "redundant-target-platform",
            ),
            Self::SecretsUsedInArgOrEnv => (
                "SecretsUsedInArgOrEnv",
                "Sensitive data should not be used in the ARG or ENV commands",
                "secrets-used-in-arg-or-env",
            ),
            Self::InvalidDefaultArgInFrom => (
                "InvalidDefaultArgInFrom",
                "Default value for global ARG results in an empty or invalid base image name",
                "invalid-default-arg-in-from",
            ),
            Self::FromPlatformFlagConstDisallowed => (
                "FromPlatformFlagConstDisallowed",
                "FROM --platform flag should not use a constant value",
                "from-platform-flag-const-disallowed",
            ),
            Self::CopyIgnoredFile => (
                "CopyIgnoredFile",
                "Attempting to Copy file that is excluded by .dockerignore",
                "copy-ignored-file",
            ),
            Self::InvalidDefinitionDescription => (
                "InvalidDefinitionDescription",
                "Comment for build stage or argument should follow the format: `# <arg/stage \
                 name> <description>`. If this is not intended to be a description comment, add \
                 an empty line or comment between the instruction and the comment.",
                "invalid-definition-description",
            ),
            Self::ExposeProtoCasing => (
                "ExposeProtoCasing",
                "Protocol in EXPOSE instruction should be lowercase",
                "expose-proto-casing",
            ),
            Self::ExposeInvalidFormat => (
                "ExposeInvalidFormat",
                "IP address and host-port mapping should not be used in EXPOSE instruction. This \
                 will become an error in a future release",
                "expose-invalid-format",
            ),
        }
    }
}
