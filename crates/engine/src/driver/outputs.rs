//! What a build hands out, as a list: the one place where settings become outputs.

use std::sync::Arc;

use kiln_delivery::output::{
    Archive, DigestsWritten, LayoutFolder, Output, Registries, check_all, deliver_all,
};
use kiln_oci::Reference;
use kiln_registry::Client;

use super::{Build, Prepared};
use crate::error::BuildError;
use crate::plan_run::PlanRun;
use crate::settings::{BuildSettings, ImageOutput};
use kiln_image::built::BuiltImage;

impl Build<'_> {
    /// Registries first: what others wait for. The files with the digest last, for they say that it is done.
    pub(super) fn outputs(
        &self,
        client: &Client,
        download: &reqwest::Client,
    ) -> Vec<Box<dyn Output>> {
        let settings = self.settings;
        let names = || settings.destinations.clone();
        let mut outputs: Vec<Box<dyn Output>> = Vec::new();
        if !settings.no_push {
            outputs.push(Box::new(Registries::new(
                client.clone(),
                names(),
                !settings.skip_push_permission_check,
                Arc::clone(self.events),
            )));
        }
        outputs.extend(settings.outputs.iter().map(|output| self.output(output)));
        let asked = settings.digest_files.clone();
        outputs.push(Box::new(DigestsWritten::new(
            asked,
            names(),
            download.clone(),
        )));
        outputs
    }

    /// The kind of output that a setting names.
    fn output(&self, output: &ImageOutput) -> Box<dyn Output> {
        let settings = self.settings;
        match output {
            ImageOutput::Archive(path) => Box::new(Archive::new(
                path.clone(),
                archive_names(settings),
                self.cancel.clone(),
            )),
            ImageOutput::Layout(path) => {
                let tags = settings.destinations.iter().map(Reference::tag_or_latest);
                let tags = tags.map(str::to_owned).collect();
                Box::new(LayoutFolder::new(path.clone(), tags))
            }
        }
    }

    /// Before anything is built, unless nothing will be handed out.
    pub(super) async fn check_outputs(
        &self,
        outputs: &[Box<dyn Output>],
    ) -> Result<(), BuildError> {
        if self.settings.dry_run {
            return Ok(());
        }
        Ok(check_all(outputs).await?)
    }

    pub(super) async fn hand_out(
        &self,
        prepared: &Prepared,
        plan_run: &PlanRun,
        image: &BuiltImage,
    ) -> Result<(), BuildError> {
        let cached = plan_run
            .run
            .cache
            .as_ref()
            .map(|cache| cache.repositories());
        let parcel = image.parcel(&plan_run.run.blobs, cached.unwrap_or_default());
        deliver_all(&prepared.outputs, &parcel).await?;
        Ok(())
    }
}

/// The names in an archive: all destinations, or kaniko's place-holder when there is none (section K).
fn archive_names(settings: &BuildSettings) -> Vec<Reference> {
    const UNNAMED: &str = "docker.io/unset-repo/unset-image-name";
    if settings.destinations.is_empty() {
        Reference::parse(UNNAMED).into_iter().collect()
    } else {
        settings.destinations.clone()
    }
}
