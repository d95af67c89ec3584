//! Whether the files of the build's context that a step reads are there.

use kiln_context::resolve;
use kiln_dockerfile::{Command, Instruction, PatternSet, Source};
use kiln_git::is_git;

use super::copy::is_url;
use super::{StepError, Stepper};
use kiln_copy::{CopyRequest, CopySource, look};

impl Stepper<'_> {
    /// Goes over an instruction without executing it, as [`Stepper::foresee`] does, and looks for its sources in the
    /// build's context; what is in other stages and in images is not known yet.
    pub(crate) fn look_for_sources(&mut self, instruction: &Instruction) -> Result<(), StepError> {
        self.span = instruction.span;
        match &instruction.command {
            Command::Copy(copy) if copy.from.is_none() => {
                let transfer = self.copy_words(copy)?;
                self.look_for(&transfer.sources, copy.parents)?;
            }
            Command::Add(add) => {
                let mut sources = Vec::new();
                for source in &add.sources {
                    let Source::Path(path) = source else { continue };
                    let path = self.expand(path)?;
                    if !is_url(&path) && !is_git(&path) {
                        sources.push(CopySource::Path(path.into_bytes()));
                    }
                }
                self.look_for(&sources, false)?;
            }
            Command::Run(run) => {
                for raw in &run.mounts {
                    let mount = self.parsed_mount(raw)?;
                    let source = mount.source.as_deref().unwrap_or("/");
                    let here = mount.kind.reads_context() && mount.from.is_none();
                    if here && !self.is_in_context(source)? {
                        return Err(StepError::MountSource {
                            path: source.trim_start_matches('/').to_owned(),
                        });
                    }
                }
            }
            Command::Copy(_)
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
        self.pass(&instruction.command)
    }

    fn look_for(&self, sources: &[CopySource], parents: bool) -> Result<(), StepError> {
        let view = self.plan_run.run.sources.context_view()?;
        let request = CopyRequest {
            view: &view,
            sources,
            destination: b"/",
            workdir: b"/",
            owner: None,
            keep_owner: false,
            chmod: None,
            excludes: &PatternSet::default(),
            parents,
            unpack_local: false,
            unpack_fetched: false,
            now: 0,
            spool: &self.plan_run.run.spool,
        };
        Ok(look(&request)?)
    }

    fn is_in_context(&self, source: &str) -> Result<bool, StepError> {
        let view = self.plan_run.run.sources.context_view()?;
        let found = resolve(view.as_ref(), source.as_bytes(), true);
        Ok(found.map_err(StepError::Image)?.is_some())
    }
}
