//! The rules, with BuildKit's names so that `# check=skip=` means the same.

use std::fmt;

/// One rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name that `# check=` and messages use.
    pub name: &'static str,
    /// The rule in one sentence.
    pub description: &'static str,
    /// Why the rule exists and what to write instead.
    pub documentation: &'static str,
    /// The last part of the address of BuildKit's page about it.
    slug: &'static str,
    /// Only looked at if `# check=experimental=` names it.
    pub experimental: bool,
}

impl Rule {
    /// BuildKit's page about the rule.
    pub fn url(&self) -> String {
        format!("https://docs.docker.com/go/dockerfile/rule/{}/", self.slug)
    }

    /// The rule of that name, in any case.
    pub fn named(name: &str) -> Option<&'static Self> {
        RULES
            .iter()
            .copied()
            .find(|rule| rule.name.eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! rules {
    ($($constant:ident = $name:literal, $slug:literal, $experimental:literal,
        $description:literal, $documentation:literal;)*) => {
        $(pub(super) static $constant: Rule = Rule {
            name: $name,
            description: $description,
            documentation: $documentation,
            slug: $slug,
            experimental: $experimental,
        };)*

        /// Every rule there is.
        pub static RULES: &[&Rule] = &[$(&$constant),*];
    };
}

rules! {
    STAGE_NAME_CASING = "StageNameCasing", "stage-name-casing", false,
        "Names of stages are in lower case",
        "Stage names are compared without regard to case. In lower case they cannot be taken for instructions.";
    FROM_AS_CASING = "FromAsCasing", "from-as-casing", false,
        "`as` is written in the case of its `from`",
        "`FROM x AS y` or `from x as y`: one line with both cases is harder to read.";
    NO_EMPTY_CONTINUATION = "NoEmptyContinuation", "no-empty-continuation", false,
        "A continued instruction has no blank lines",
        "A blank line behind a continuation is skipped today, and may become an error. Remove it, or make it a comment.";
    CONSISTENT_INSTRUCTION_CASING = "ConsistentInstructionCasing", "consistent-instruction-casing", false,
        "All instructions are written in one case",
        "Capitals or lower case, but the same in the whole file; the case that most instructions have counts.";
    DUPLICATE_STAGE_NAME = "DuplicateStageName", "duplicate-stage-name", false,
        "No two stages have one name",
        "A reference means the latest stage of the name before it, so the earlier one cannot be reached any more.";
    RESERVED_STAGE_NAME = "ReservedStageName", "reserved-stage-name", false,
        "No stage is called `scratch` or `context`",
        "`scratch` is the empty image and `context` the build context; a stage of that name cannot be meant.";
    JSON_ARGS_RECOMMENDED = "JSONArgsRecommended", "json-args-recommended", false,
        "CMD and ENTRYPOINT are in JSON form",
        "Other text is run by a shell, which is then process 1 and does not pass signals on, so the container is slow \
         to stop. Write `CMD [\"program\", \"argument\"]`; a SHELL instruction says that a shell is wanted.";
    MAINTAINER_DEPRECATED = "MaintainerDeprecated", "maintainer-deprecated", false,
        "MAINTAINER is deprecated",
        "Write `LABEL org.opencontainers.image.authors=\"...\"`, which tools can read.";
    UNDEFINED_ARG_IN_FROM = "UndefinedArgInFrom", "undefined-arg-in-from", false,
        "FROM uses only variables that an ARG before the first FROM declares",
        "An undeclared variable is empty in FROM, whatever `--build-arg` says.";
    WORKDIR_RELATIVE_PATH = "WorkdirRelativePath", "workdir-relative-path", false,
        "The first WORKDIR of a stage is absolute",
        "A relative one depends on the working directory of the base image, which may change.";
    UNDEFINED_VAR = "UndefinedVar", "undefined-var", false,
        "Variables are declared by ARG or ENV before their use",
        "An undeclared variable is empty. ARGs from before the first FROM have to be declared again in the stage.";
    MULTIPLE_INSTRUCTIONS_DISALLOWED = "MultipleInstructionsDisallowed", "multiple-instructions-disallowed", false,
        "CMD, ENTRYPOINT and HEALTHCHECK stand once in a stage",
        "Only the last one has an effect.";
    LEGACY_KEY_VALUE_FORMAT = "LegacyKeyValueFormat", "legacy-key-value-format", false,
        "ENV and LABEL are written with `=`",
        "`ENV name value` takes the rest of the line as one value, which surprises. Write `ENV name=value`.";
    REDUNDANT_TARGET_PLATFORM = "RedundantTargetPlatform", "redundant-target-platform", false,
        "FROM does not say `--platform=$TARGETPLATFORM`",
        "That platform is taken anyway.";
    SECRETS_USED_IN_ARG_OR_ENV = "SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env", false,
        "No secrets in ARG or ENV",
        "Their values stay in the image's configuration or history, for everybody who has the image. Use \
         `RUN --mount=type=secret`.";
    INVALID_DEFAULT_ARG_IN_FROM = "InvalidDefaultArgInFrom", "invalid-default-arg-in-from", false,
        "FROM names an image also when no build-arg is given",
        "Give the ARG a default, or write `${NAME:-default}`, so that the file builds without options.";
    FROM_PLATFORM_FLAG_CONST_DISALLOWED = "FromPlatformFlagConstDisallowed",
        "from-platform-flag-const-disallowed", false,
        "FROM `--platform` is no constant",
        "A constant keeps the file from being built for other platforms. Leave it out, use `$BUILDPLATFORM`, or name the \
         stage after the platform if it is meant for just one.";
    COPY_IGNORED_FILE = "CopyIgnoredFile", "copy-ignored-file", false,
        "COPY and ADD do not name files that the ignore file excludes",
        "Such files are not in the context, so the step fails or copies nothing.";
    INVALID_DEFINITION_DESCRIPTION = "InvalidDefinitionDescription", "invalid-definition-description", true,
        "A comment directly above an ARG, or a FROM with a name, begins with that name",
        "Such comments are the descriptions of arguments and stages: `# NAME what it is for`. A blank line, or an empty \
         comment, keeps another comment apart.";
    EXPOSE_PROTO_CASING = "ExposeProtoCasing", "expose-proto-casing", false,
        "The protocol of EXPOSE is in lower case",
        "`EXPOSE 80/tcp`; the image has it in lower case anyway.";
    EXPOSE_INVALID_FORMAT = "ExposeInvalidFormat", "expose-invalid-format", false,
        "EXPOSE names no address and no port of the host",
        "Those are chosen when a container is started, and are dropped here. Write the container's port alone.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_pages_agree() {
        assert_eq!(RULES.len(), 21);
        for rule in RULES {
            assert!(std::ptr::eq(Rule::named(rule.name).unwrap(), *rule));
            let joined: String = rule.slug.split('-').collect();
            assert!(joined.eq_ignore_ascii_case(rule.name), "{rule}");
            assert!(!rule.description.is_empty() && rule.documentation.ends_with('.'));
        }
        assert_eq!(Rule::named("undefinedvar"), Some(&UNDEFINED_VAR));
        assert_eq!(Rule::named("Nothing"), None);
    }
}
