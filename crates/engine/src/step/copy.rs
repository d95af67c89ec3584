//! COPY, and what ADD shares with it.

use std::sync::Arc;

use kiln_context::FileView;
use kiln_dockerfile::{Chmod, Copy, Heredoc, PatternSet, Source};
use kiln_git::is_git;
use kiln_layer::TreeIndex;

use super::{StepError, Stepper};
use crate::stage::Finished;
use kiln_copy::{CopyRequest, CopySource, Items, Planned, plan};
use kiln_image::history;
use kiln_plan::plan::Source as Named;
use kiln_store::layers::{Layer, Made};

/// The words of a COPY or ADD, expanded.
#[derive(Debug, Default)]
pub(super) struct Transfer {
    /// COPY or ADD.
    pub(super) name: &'static str,
    pub(super) sources: Vec<CopySource>,
    /// The sources as history shows them.
    pub(super) shown: Vec<String>,
    pub(super) destination: String,
    pub(super) chown: Option<String>,
    pub(super) chmod: Option<String>,
    pub(super) excludes: Vec<String>,
    pub(super) link: bool,
    pub(super) parents: bool,
    pub(super) keep_owner: bool,
    pub(super) unpack_local: bool,
    pub(super) unpack_fetched: bool,
    /// What the path sources are in, if it is more than the context.
    pub(super) view: Option<Arc<dyn FileView>>,
}

impl Transfer {
    /// The text of the history entry (F20).
    pub(super) fn history(&self) -> String {
        history::copy(
            self.name,
            self.parents,
            self.chown.as_deref(),
            self.chmod.as_deref(),
            &self.shown,
            &self.destination,
        )
    }
}

impl Stepper<'_> {
    pub(super) fn copy(&mut self, copy: &Copy) -> Result<(), StepError> {
        let view = match &copy.from {
            None => self.plan_run.run.sources.context_view()?,
            Some(from) => self.view_of(from)?,
        };
        let transfer = self.copy_words(copy)?;
        let stage = match &copy.from {
            None => None,
            Some(from) => self.stage_of(from)?,
        };
        self.transfer(&view, &transfer, stage.as_deref())
    }

    /// The stage that `--from` names, if it names one.
    fn stage_of(&self, from: &str) -> Result<Option<Arc<Finished>>, StepError> {
        let source = self
            .plan_run
            .plan
            .source_of(self.stage, from, self.span)
            .map_err(|(_, error)| error)?;
        match source {
            Named::Stage(_) => {
                let finished = self.plan_run.wait_for(&source);
                finished.ok_or(StepError::Dependency).map(Some)
            }
            Named::Image(..) | Named::Files(_) | Named::Scratch => Ok(None),
        }
    }

    /// The words of a COPY, expanded.
    pub(super) fn copy_words(&self, copy: &Copy) -> Result<Transfer, StepError> {
        let mut transfer = Transfer {
            name: "COPY",
            destination: self.expand(&copy.destination)?,
            chown: self.expand_option(copy.chown.as_ref())?,
            chmod: self.expand_option(copy.chmod.as_ref())?,
            excludes: self.expand_all(&copy.excludes)?,
            link: copy.link,
            parents: copy.parents,
            keep_owner: copy.from.is_some(),
            ..Transfer::default()
        };
        Self::check_path("destination", &transfer.destination)?;
        for source in &copy.sources {
            match source {
                Source::Path(path) => {
                    let path = self.expand(path)?;
                    if is_url(&path) || is_git(&path) {
                        return Err(StepError::Unsupported {
                            what: format!(
                                "source can't be a URL for COPY: `{path}`; use ADD, a URL as a source of COPY"
                            ),
                        });
                    }
                    transfer.shown.push(path.clone());
                    transfer.sources.push(CopySource::Path(path.into_bytes()));
                }
                Source::Heredoc(_) => {}
            }
        }
        self.heredocs(&copy.sources, &mut transfer)?;
        Ok(transfer)
    }

    /// The heredocs among the sources, which come after all paths wherever they are written (E49).
    pub(super) fn heredocs(
        &self,
        sources: &[Source],
        transfer: &mut Transfer,
    ) -> Result<(), StepError> {
        for source in sources {
            match source {
                Source::Heredoc(heredoc) => self.inline(heredoc, transfer)?,
                Source::Path(_) => {}
            }
        }
        Ok(())
    }

    /// The files that `--from` names.
    pub(super) fn view_of(&self, from: &str) -> Result<Arc<dyn FileView>, StepError> {
        let source = self
            .plan_run
            .plan
            .source_of(self.stage, from, self.span)
            .map_err(|(_, error)| error)?;
        if let Named::Files(number) = source {
            return Ok(self.plan_run.run.sources.named_view(number)?);
        }
        let finished = self
            .plan_run
            .wait_for(&source)
            .ok_or(StepError::Dependency)?;
        Ok(finished.view(&self.plan_run.run.blobs, &self.plan_run.run.work)?)
    }

    pub(super) fn expand_all(&self, words: &[String]) -> Result<Vec<String>, StepError> {
        words.iter().map(|word| self.expand(word)).collect()
    }

    /// A heredoc source is a file of the delimiter's name (E49, B15).
    fn inline(&self, heredoc: &Heredoc, transfer: &mut Transfer) -> Result<(), StepError> {
        let content = if heredoc.expand {
            let expander = &self.plan_run.plan.expander;
            expander.heredoc(&heredoc.content, &self.state.scope)?
        } else {
            heredoc.content.clone()
        };
        self.plan_run.run.text.charge(content.len())?;
        transfer.shown.push(format!("<<{}", heredoc.name));
        transfer.sources.push(CopySource::Inline {
            name: heredoc.name.clone().into_bytes(),
            content: content.into_bytes(),
        });
        Ok(())
    }

    /// Works out the layer, starts to pack it and records the step. `stage` is the one that the files come from.
    pub(super) fn transfer(
        &mut self,
        view: &Arc<dyn FileView>,
        transfer: &Transfer,
        stage: Option<&Finished>,
    ) -> Result<(), StepError> {
        let owner = match &transfer.chown {
            Some(chown) => Some(self.accounts_for(chown)?.owner(chown)?),
            None => None,
        };
        let chmod = transfer.chmod.as_deref().map(Chmod::parse).transpose()?;
        let excludes = PatternSet::new(&transfer.excludes).map_err(StepError::Exclude)?;
        // `--link` makes the same layer whatever is below (E35).
        let tree = if transfer.link {
            Arc::new(TreeIndex::default())
        } else {
            self.state.tree(&self.plan_run.run.blobs)?
        };
        let request = CopyRequest {
            view,
            sources: &transfer.sources,
            destination: transfer.destination.as_bytes(),
            workdir: self.state.workdir().as_bytes(),
            owner,
            keep_owner: transfer.keep_owner,
            chmod: chmod.as_ref(),
            excludes: &excludes,
            parents: transfer.parents,
            unpack_local: transfer.unpack_local,
            unpack_fetched: transfer.unpack_fetched,
            now: self.plan_run.run.clock.seconds(),
            spool: &self.plan_run.run.spool,
        };
        let Planned { items, cramped } = plan(&request, &tree)?;
        if cramped {
            self.remarks.push(format!(
                "several sources and a destination that is no directory: files are written to it one after the other, \
                 and the last one stays; write `{}/` for a directory",
                transfer.destination
            ));
        }
        let layer = self.packed(items, stage, view.is_stable())?;
        self.record(transfer.history(), layer)
    }

    /// Starts to pack a layer, unless it is one that the stage the files come from has already.
    fn packed(
        &self,
        mut items: Items,
        stage: Option<&Finished>,
        stable: bool,
    ) -> Result<Option<Layer>, StepError> {
        if items.is_empty() {
            return Ok(None);
        }
        let packer = &self.plan_run.run.packer;
        packer.settle_times(&mut items);
        if let Some(layer) = stage.and_then(|stage| stage.layer_with(&items)) {
            return Ok(Some(layer));
        }
        let made = Made::Items(items);
        Ok(Some(if stable {
            packer.start(made, self.subject())
        } else {
            packer.now(made, self.subject())?
        }))
    }
}

/// Whether a source is fetched over HTTP.
pub(super) fn is_url(source: &str) -> bool {
    let lower = source.to_ascii_lowercase();
    lower.starts_with("http://") || lower.starts_with("https://")
}
