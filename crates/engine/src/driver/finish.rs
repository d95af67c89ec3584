//! The end of a build: the image is put together and handed out.

use std::sync::Arc;

use super::Build;
use crate::error::BuildError;
use crate::plan_run::PlanRun;
use crate::squash;
use crate::stage::Finished;
use crate::step::StepError;
use kiln_events::{Event, NoteKind, WarningKind};
use kiln_image::built::{BuiltImage, Finishing, Outcome};
use kiln_rootfs::RootError;
use kiln_store::layers::{Described, Layer};

impl Build<'_> {
    /// Waits for the last layer to be packed and puts the image together.
    pub(super) async fn finish(
        &self,
        plan_run: &Arc<PlanRun>,
        finished: Arc<Finished>,
    ) -> Result<BuiltImage, BuildError> {
        let single = self.settings.single_snapshot;
        let plan_run_too = Arc::clone(plan_run);
        let described = tokio::task::spawn_blocking(move || {
            let finished = if single {
                squash::into_one(&plan_run_too, &finished)?
            } else {
                finished
            };
            let layers = finished
                .layers()
                .iter()
                .map(Layer::describe)
                .collect::<Result<Vec<Described>, _>>()?;
            Ok::<_, StepError>((finished, layers))
        });
        let (finished, layers) = described
            .await
            .map_err(|_| BuildError::Lost)?
            .map_err(|error| BuildError::Finish(Box::new(error)))?;
        Ok(BuiltImage::assemble(
            &Outcome {
                config: finished.config(),
                base_history: finished.base_history(),
                family: finished.family(),
            },
            layers,
            &Finishing {
                format: self.settings.image_format,
                labels: &self.settings.labels,
                annotations: &self.settings.annotations,
                clock: plan_run.run.clock,
            },
        ))
    }

    /// Leaves in `/` what was asked for, if the build ran in place.
    pub(super) async fn leave_place(
        &self,
        plan_run: &Arc<PlanRun>,
        finished: Arc<Finished>,
    ) -> Result<(), BuildError> {
        let (materialize, clean_up) = (self.settings.materialize, self.settings.cleanup);
        if !plan_run.run.roots.one_at_a_time() || !(materialize || clean_up) {
            return Ok(());
        }
        let roots = Arc::clone(&plan_run.run.roots);
        let leaving = tokio::task::spawn_blocking(move || {
            if materialize {
                roots.materialize(finished.layers())?;
            }
            if clean_up {
                roots.clean_up()?;
            }
            Ok(())
        });
        let left = leaving.await.map_err(|_| BuildError::Lost)?;
        left.map_err(|error: RootError| BuildError::Finish(Box::new(error.into())))
    }

    /// After a failure: puts the context back, and leaves `/` empty if that was asked for. Whatever goes wrong here is not
    /// what the user has to know first.
    pub(super) async fn clean_up_after(&self, plan_run: &Arc<PlanRun>, error: &BuildError) {
        let mut troubles = Vec::new();
        troubles.extend(self.put_back(plan_run).await.err());
        // Somebody waits for the end of a build that was interrupted.
        let wanted = self.settings.cleanup && plan_run.run.roots.one_at_a_time();
        if wanted && !self.cancel.is_cancelled() {
            self.join_workers().await;
            let roots = Arc::clone(&plan_run.run.roots);
            let cleaning = tokio::task::spawn_blocking(move || roots.clean_up()).await;
            let cleaned = cleaning.map_err(|_| BuildError::Lost);
            let cleaned = cleaned.and_then(|cleaned| {
                cleaned.map_err(|error| BuildError::Finish(Box::new(error.into())))
            });
            troubles.extend(cleaned.err());
        }
        for trouble in troubles {
            let why = kiln_shown::with_causes(&trouble);
            tracing::debug!(%error, "failed before");
            self.events
                .event(Event::warning(WarningKind::LeftBehind, why));
        }
    }

    /// Keeps on the volume what was pulled, beside what is left to do.
    pub(super) fn keep_bases(&self, plan_run: &Arc<PlanRun>) {
        let volume = plan_run
            .run
            .cache
            .as_ref()
            .and_then(|cache| cache.volume())
            .cloned();
        let Some(volume) = volume else { return };
        let plan_run = Arc::clone(plan_run);
        let keeping = self.workers.start("kiln-keep", move || {
            for pulled in plan_run
                .images
                .values()
                .filter_map(|base| base.pulled.as_ref())
            {
                let name = pulled.reference().familiar();
                let dir = volume.dir().display();
                match pulled.keep(&volume, &plan_run.run.blobs) {
                    Ok(false) => {}
                    Ok(true) => {
                        let text = format!("{name} is kept in the cache at {dir}");
                        plan_run
                            .run
                            .events
                            .event(Event::note(NoteKind::ImageKept, text));
                    }
                    Err(error) => {
                        let why = kiln_shown::with_causes(&error);
                        let text = format!("{name} cannot be kept in the cache at {dir}: {why}");
                        let kind = WarningKind::ImageNotKept;
                        plan_run.run.events.event(Event::warning(kind, text));
                    }
                }
            }
        });
        if let Err(error) = keeping {
            tracing::debug!(%error, "no thread to keep base images");
        }
    }
}
