//! From a parsed Dockerfile and the caller's choices to what has to be built: targets, the base of each
//! stage, and what depends on what (conformance C1-C10, C13, C22).

use std::collections::BTreeSet;
use std::path::PathBuf;

use kiln_dockerfile::{
    Command, Dockerfile, ExpandError, Expander, Instruction, Lookup, Mount, MountError, Run, Span,
    StageError, copy_source, find_stage, find_target, shortened,
};
use kiln_oci::{ImageSource, Platform, PlatformError, Reference, ReferenceError};

use crate::budget::{TooMuchText, check_variables};
use crate::scope::{BuildArgs, GlobalScope};
use kiln_options::{BuildContext, BuildContextSource, SourceDateEpoch};

/// The system whose images have another form: their layers hold registry hives, and their paths have drives.
const WINDOWS: &str = "windows";

/// What a FROM, a `COPY --from` or a `RUN --mount=from=` names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nothing: no files, no configuration (C11).
    Scratch,
    /// An earlier stage of the file.
    Stage(usize),
    /// An image for the given platform.
    Image(Box<ImageSource>, Platform),
    /// Files that the caller gave a name, by their number in [`Plan::contexts`].
    Files(usize),
}

/// Why a Dockerfile cannot be planned; every variant belongs to a line of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A word could not be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// `SOURCE_DATE_EPOCH` before the first FROM is no time.
    #[error(
        "invalid SOURCE_DATE_EPOCH: `{}`; expected {}",
        shortened(value),
        SourceDateEpoch::EXPECTED
    )]
    Epoch {
        /// The value after expansion.
        value: String,
    },
    /// The ARGs before the first FROM hold too much.
    #[error(transparent)]
    Text(#[from] TooMuchText),
    /// `--from` or `--target` names no stage that can be used (C5, C6, C9).
    #[error(transparent)]
    Stage(#[from] StageError),
    /// FROM or `--from` names no valid image (C22).
    #[error("failed to parse stage name \"{name}\": invalid reference format")]
    Reference {
        /// The name after expansion.
        name: String,
        /// What is wrong with it.
        #[source]
        source: ReferenceError,
    },
    /// FROM is empty after expansion.
    #[error("base name (`{written}`) should not be blank")]
    BlankBase {
        /// The name as written.
        written: String,
    },
    /// `--platform` is no platform.
    #[error("`{value}` is not a platform")]
    Platform {
        /// The value after expansion.
        value: String,
        /// What is wrong with it.
        #[source]
        source: PlatformError,
    },
    /// `--platform` is empty after expansion (C13).
    #[error("empty platform value from expression `{written}`")]
    BlankPlatform {
        /// The value as written.
        written: String,
    },
    /// A flag of RUN that no build here can honour (D39).
    #[error("`{flag}` cannot be honoured: {reason}")]
    Unsupported {
        /// The flag as written.
        flag: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A mount that cannot be understood.
    #[error("`--mount={mount}` cannot be used")]
    Mount {
        /// The mount as written.
        mount: String,
        /// What is wrong with it.
        #[source]
        source: MountError,
    },
}

/// The Dockerfile with the caller's choices applied.
#[derive(Debug)]
pub struct Plan {
    /// The Dockerfile.
    pub dockerfile: Dockerfile,
    /// Replaces variables, with the escape character of the file.
    pub expander: Expander,
    /// What FROM lines see.
    pub global: GlobalScope,
    /// What the image is for, unless a FROM says otherwise.
    pub platform: Platform,
    /// The stages asked for; the first is the image.
    pub targets: Vec<usize>,
    /// What the caller gave names; these come before stages and images.
    pub contexts: Vec<BuildContext>,
}

/// An error with the lines it belongs to.
pub(crate) type Located<T> = Result<T, (Span, Box<PlanError>)>;

impl Plan {
    /// The stages that were asked for; the last one when none was (C9, C10).
    pub(crate) fn targets_of(
        dockerfile: &Dockerfile,
        wanted: &[String],
    ) -> Result<Vec<usize>, StageError> {
        if wanted.is_empty() {
            return Ok(vec![dockerfile.stages.len().saturating_sub(1)]);
        }
        wanted
            .iter()
            .map(|name| find_target(&dockerfile.stages, name))
            .collect()
    }

    /// Evaluates the ARGs before the first FROM.
    pub fn global_scope(
        dockerfile: &Dockerfile,
        platform: &Platform,
        target_name: &str,
        build_args: &BuildArgs,
    ) -> Located<GlobalScope> {
        let expander = Expander::new(dockerfile.directives.escape);
        let mut global = GlobalScope::new(&Platform::host(), platform, target_name, build_args);
        for instruction in &dockerfile.global_args {
            if let Command::Arg(args) = &instruction.command {
                global
                    .declare(args, build_args, expander)
                    .map_err(|source| (instruction.span, Box::new(source.into())))?;
                check_variables(global.size())
                    .map_err(|source| (instruction.span, Box::new(source.into())))?;
            }
        }
        Ok(global)
    }

    /// The value of a variable before the first FROM; nothing if it has none.
    pub(crate) fn global_value(&self, name: &str) -> &str {
        self.global.get(name).unwrap_or_default()
    }

    /// The targets and every stage of the file they need, as far as the file tells: ONBUILD triggers of images may
    /// need more. What cannot be followed is left to whoever looks the stage up.
    pub fn needed_stages(&self) -> BTreeSet<usize> {
        let mut needed = BTreeSet::new();
        let mut new: Vec<usize> = self.targets.clone();
        while let Some(stage) = new.pop() {
            if !needed.insert(stage) {
                continue;
            }
            let instructions = &self.dockerfile.stages[stage].instructions;
            let others = instructions
                .iter()
                .filter_map(|instruction| self.sources(stage, [instruction]).ok())
                .flatten();
            let sources = self.base(stage).ok().into_iter().chain(others);
            new.extend(sources.filter_map(|source| match source {
                Source::Stage(stage) => Some(stage),
                _ => None,
            }));
        }
        needed
    }

    /// How a stage is called in messages: its name, else its number as BuildKit writes it.
    pub fn stage_name(&self, index: usize) -> String {
        self.dockerfile.stages.get(index).map_or_else(
            || format!("stage-{index}"),
            kiln_dockerfile::Stage::display_name,
        )
    }

    /// What the FROM of a stage names, with the platform its image is for.
    pub fn base(&self, index: usize) -> Located<Source> {
        let from = &self.dockerfile.stages[index].from;
        let at = |error| (from.span, Box::new(error));
        let expand = |word: &str| {
            self.expander
                .word(word, &self.global)
                .map(|expanded| expanded.text)
                .map_err(|source| at(source.into()))
        };
        let name = expand(&from.image)?;
        if name.is_empty() {
            let written = from.image.clone();
            return Err(at(PlanError::BlankBase { written }));
        }
        let mut platform = self.platform.clone();
        if let Some(written) = &from.platform {
            let value = expand(written)?;
            if value.is_empty() {
                let written = written.clone();
                return Err(at(PlanError::BlankPlatform { written }));
            }
            platform = Platform::parse(&value)
                .map_err(|source| at(PlanError::Platform { value, source }))?;
            if platform.os == WINDOWS {
                return Err(at(PlanError::Unsupported {
                    flag: "--platform=windows",
                    reason: "images for Windows have another form, and only those for Linux are built here",
                }));
            }
        }
        if let Some(named) = self.named(&name, &platform) {
            return Ok(named);
        }
        if let Some(stage) = find_stage(&self.dockerfile.stages, index, &name) {
            return Ok(Source::Stage(stage));
        }
        image(&name, platform).map_err(at)
    }

    /// What the caller says that a name stands for.
    fn named(&self, name: &str, platform: &Platform) -> Option<Source> {
        let number = self.contexts.iter().position(|context| context.is(name))?;
        let image = match &self.contexts[number].source {
            BuildContextSource::Directory(_) | BuildContextSource::Remote(_) => {
                return Some(Source::Files(number));
            }
            BuildContextSource::Image(reference) => ImageSource::Registry(reference.clone()),
            BuildContextSource::Layout { dir, name } => ImageSource::Layout {
                dir: dir.clone(),
                name: name.clone(),
            },
        };
        Some(Source::Image(Box::new(image), platform.clone()))
    }

    /// The platform a stage is for: that of its FROM's image.
    pub fn platform_of(&self, mut index: usize) -> Located<Platform> {
        loop {
            match self.base(index)? {
                Source::Stage(parent) => index = parent,
                Source::Image(_, platform) => return Ok(platform),
                Source::Scratch | Source::Files(_) => return Ok(self.scratch_platform(index)),
            }
        }
    }

    /// `FROM --platform=... scratch` sets the platform though there is nothing to choose from.
    fn scratch_platform(&self, index: usize) -> Platform {
        let from = &self.dockerfile.stages[index].from;
        let Some(written) = &from.platform else {
            return self.platform.clone();
        };
        let expanded = self.expander.word(written, &self.global);
        expanded
            .ok()
            .and_then(|value| Platform::parse(&value.text).ok())
            .unwrap_or_else(|| self.platform.clone())
    }

    /// What `--from=value` names for an instruction of stage `current` (C4-C7).
    pub fn source_of(&self, current: usize, value: &str, span: Span) -> Located<Source> {
        let at = |error| (span, Box::new(error));
        if let Some(named) = self.named(value, &self.platform) {
            return Ok(named);
        }
        let stage = copy_source(&self.dockerfile.stages, current, value)
            .map_err(|error| at(error.into()))?;
        if let Some(stage) = stage {
            return Ok(Source::Stage(stage));
        }
        image(value, self.platform.clone()).map_err(at)
    }

    /// Everything the instructions of a stage read from other stages and images.
    pub fn sources<'a>(
        &self,
        current: usize,
        instructions: impl IntoIterator<Item = &'a Instruction>,
    ) -> Located<BTreeSet<Source>> {
        let mut sources = BTreeSet::new();
        for instruction in instructions {
            match &instruction.command {
                Command::Copy(copy) => {
                    if let Some(from) = &copy.from {
                        sources.insert(self.source_of(current, from, instruction.span)?);
                    }
                }
                Command::Run(run) => {
                    check_flags(run).map_err(|error| (instruction.span, error))?;
                    for raw in &run.mounts {
                        let mount = parse_mount(raw).map_err(|error| (instruction.span, error))?;
                        if let (true, Some(from)) = (mount.kind.reads_from(), &mount.from) {
                            sources.insert(self.source_of(current, from, instruction.span)?);
                        }
                    }
                }
                Command::Add(_)
                | Command::Arg(_)
                | Command::Cmd(_)
                | Command::Entrypoint(_)
                | Command::Env(_)
                | Command::Expose(_)
                | Command::Healthcheck(_)
                | Command::Label(_)
                | Command::Maintainer(_)
                | Command::Onbuild(_)
                | Command::Shell(_)
                | Command::Stopsignal(_)
                | Command::User(_)
                | Command::Volume(_)
                | Command::Workdir(_) => {}
            }
        }
        Ok(sources)
    }
}

/// What cannot be honoured is an error before anything is pulled, not a warning (D39).
fn check_flags(run: &Run) -> Result<(), Box<PlanError>> {
    let (flag, reason) = if run.security.as_deref() == Some("insecure") {
        let reason =
            "it asks for a privileged command, and a builder without privilege has none to give";
        ("--security=insecure", reason)
    } else if !run.devices.is_empty() {
        ("--device", "no device of this machine is given to a build")
    } else {
        return Ok(());
    };
    Err(Box::new(PlanError::Unsupported { flag, reason }))
}

/// A mount with its variables left as they are: enough to know what it depends on.
fn parse_mount(raw: &str) -> Result<Mount, Box<PlanError>> {
    Mount::parse(raw, &mut |word| Ok(word.to_owned())).map_err(|source| {
        Box::new(PlanError::Mount {
            mount: raw.to_owned(),
            source,
        })
    })
}

/// Whether a FROM can say this, as far as its form goes.
pub(crate) fn is_image_name(name: &str) -> bool {
    !name.is_empty() && image(name, Platform::host()).is_ok()
}

/// An image's name: `scratch`, an OCI layout, or a reference.
fn image(name: &str, platform: Platform) -> Result<Source, PlanError> {
    if name == "scratch" {
        return Ok(Source::Scratch);
    }
    let layout = name
        .strip_prefix("oci-layout://")
        .or_else(|| name.strip_prefix("oci:"));
    if let Some(path) = layout {
        let (dir, name) = match path.rsplit_once(':') {
            Some((dir, name)) if !name.contains('/') => (dir, Some(name.to_owned())),
            _ => (path, None),
        };
        let dir = PathBuf::from(dir);
        return Ok(Source::Image(
            Box::new(ImageSource::Layout { dir, name }),
            platform,
        ));
    }
    let reference = Reference::parse(name).map_err(|source| PlanError::Reference {
        name: name.to_owned(),
        source,
    })?;
    Ok(Source::Image(
        Box::new(ImageSource::Registry(reference)),
        platform,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        let dockerfile = kiln_dockerfile::parse(text.as_bytes()).unwrap();
        let platform = Platform::parse("linux/amd64").unwrap();
        let args = BuildArgs::new();
        let global = Plan::global_scope(&dockerfile, &platform, "default", &args)
            .map_err(|(_, error)| error)
            .unwrap();
        Plan {
            contexts: Vec::new(),
            expander: Expander::new(dockerfile.directives.escape),
            targets: Plan::targets_of(&dockerfile, &[]).unwrap(),
            global,
            platform,
            dockerfile,
        }
    }

    fn refusal(text: &str) -> String {
        let plan = plan(text);
        let last = plan.dockerfile.stages.len() - 1;
        let instructions = &plan.dockerfile.stages[last].instructions;
        let error = plan
            .base(last)
            .err()
            .or_else(|| plan.sources(last, instructions).err());
        error.expect("refused").1.to_string()
    }

    // conformance: C2 C4 C5
    #[test]
    fn a_stage_goes_before_an_image_of_its_name() {
        let plan = plan("FROM a AS x\nFROM b AS X\nFROM x\nCOPY --from=0 /f /f\n");
        assert_eq!(plan.base(2).unwrap(), Source::Stage(1));
        let sources = plan
            .sources(2, &plan.dockerfile.stages[2].instructions)
            .unwrap();
        assert_eq!(sources.into_iter().collect::<Vec<_>>(), [Source::Stage(0)]);
    }

    // conformance: B12 C5 C6 C13 C22
    #[test]
    fn references_that_lead_nowhere_are_refused_with_the_reason() {
        let cases = [
            ("FROM a\nCOPY --from=3 /f /f\n", "invalid stage index 3"),
            (
                "ARG REG\nFROM ${REG}/img:${TAG:-1}\n",
                "failed to parse stage name \"/img:1\": invalid reference format",
            ),
            // Variables of stages are nothing to FROM.
            (
                "FROM a\nARG X=1\nENV Y=2\nFROM b:$X$Y\n",
                "failed to parse stage name \"b:\": invalid reference format",
            ),
            (
                "FROM a\nARG X=linux/arm64\nFROM --platform=$X b\n",
                "empty platform value from expression `$X`",
            ),
            (
                "ARG P=a/b/c/d\nFROM --platform=$P b\n",
                "`a/b/c/d` is not a platform",
            ),
            (
                "FROM --platform=$NONE a\n",
                "empty platform value from expression `$NONE`",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(refusal(text), expected, "{text}");
        }
        let later = plan("FROM a\nCOPY --from=later /f /f\nFROM b AS later\n");
        let error = later
            .sources(0, &later.dockerfile.stages[0].instructions)
            .unwrap_err();
        assert_eq!(
            error.1.to_string(),
            "cannot copy from stage \"later\", it needs to be defined before current stage \"stage-0\""
        );
        // Stages cannot wait for each other through triggers either.
        let child = plan("FROM a AS x\nFROM x AS y\n");
        for trigger in ["COPY --from=y /f /f", "RUN --mount=from=1,target=/m true"] {
            let trigger = kiln_dockerfile::parse_trigger(trigger, '\\').unwrap();
            let error = child.sources(1, [&trigger]).unwrap_err().1.to_string();
            assert!(error.starts_with("cannot copy from stage "), "{error}");
        }
    }

    // conformance: C7
    #[test]
    fn what_is_copied_from_is_for_the_target() {
        let mut plan = plan("FROM --platform=linux/riscv64 a\nCOPY --from=image /f /f\n");
        plan.platform = Platform::parse("linux/arm64").unwrap();
        let Ok(Source::Image(_, own)) = plan.base(0) else {
            panic!("no image")
        };
        assert_eq!(own.architecture, "riscv64");
        let sources = plan
            .sources(0, &plan.dockerfile.stages[0].instructions)
            .unwrap();
        let platforms: Vec<_> = sources
            .iter()
            .map(|source| match source {
                Source::Image(_, platform) => platform.architecture.as_str(),
                _ => "no image",
            })
            .collect();
        assert_eq!(platforms, ["arm64"]);
    }

    // conformance: C9
    #[test]
    fn a_target_is_a_name_in_any_case_and_no_number() {
        let file = kiln_dockerfile::parse(b"FROM a AS one\nFROM b AS two\n").unwrap();
        assert_eq!(Plan::targets_of(&file, &["ONE".to_owned()]).unwrap(), [0]);
        assert_eq!(Plan::targets_of(&file, &[]).unwrap(), [1]);
        let error = Plan::targets_of(&file, &["onee".to_owned()]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "target stage \"onee\" could not be found (did you mean one?)"
        );
        assert!(Plan::targets_of(&file, &["0".to_owned()]).is_err());
    }
}
