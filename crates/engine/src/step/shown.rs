//! What a mount of RUN shows, as a path of this machine: parts of the context, of stages and of images, and caches.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use kiln_context::FileView;
use kiln_dockerfile::PatternSet;
use kiln_layer::{
    Compression, ExtractOptions, LayerReader, LayerWriter, Root, TreeIndex, WriterOptions, extract,
};

use super::StepError;
use crate::plan_run::PlanRun;
use crate::stage::Finished;
use kiln_copy::{CopyError, CopyRequest, CopySource, Items, plan};
use kiln_plan::plan::Source;
use kiln_store::layers::PackError;
use kiln_store::pack::write_items;
use kiln_work::folder::private_dir;

/// The folder of cache mounts, made if it is missing.
pub(super) fn cache_mounts(plan_run: &PlanRun) -> Result<PathBuf, StepError> {
    private_to_us(&plan_run.run.cache_mounts).map_err(|source| StepError::Io {
        operation: "create",
        path: plan_run.run.cache_mounts.clone(),
        source,
    })?;
    Ok(plan_run.run.cache_mounts.clone())
}

/// A file or directory of the context on this machine, for a bind mount (D28, D29).
pub(super) fn context_path(plan_run: &PlanRun, source: &str) -> Result<PathBuf, StepError> {
    let view = plan_run.run.sources.context_view()?;
    let found =
        kiln_context::resolve(view.as_ref(), source.as_bytes(), true).map_err(StepError::Image)?;
    if let Some(dir) = plan_run.run.sources.whole_context_dir()
        && let Some(found) = found
    {
        return Ok(dir.join(found.entry.path.as_path()));
    }
    // What the ignore file hides must not show through the mount, so the rest is copied aside.
    copy_aside(plan_run, &view, source, false)
}

/// A copy of a file or directory of the context, owned by root as COPY has it.
pub(super) fn context_copy(plan_run: &PlanRun, source: &str) -> Result<PathBuf, StepError> {
    copy_aside(
        plan_run,
        &plan_run.run.sources.context_view()?,
        source,
        false,
    )
}

/// Copies a file or directory of a view into the work folder.
pub(super) fn copy_aside(
    plan_run: &PlanRun,
    view: &Arc<dyn FileView>,
    source: &str,
    keep_owner: bool,
) -> Result<PathBuf, StepError> {
    let found =
        kiln_context::resolve(view.as_ref(), source.as_bytes(), true).map_err(StepError::Image)?;
    let Some(found) = found else {
        return Err(StepError::MountSource {
            path: source.trim_start_matches('/').to_owned(),
        });
    };
    let failed = |source| io(plan_run, "write to", source);
    let dir = tempfile::tempdir_in(&plan_run.run.work)
        .map_err(failed)?
        .keep();
    // Others than its owner may be the user of the command.
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).map_err(failed)?;
    unpack_view(plan_run, view, source, keep_owner, &dir)?;
    if found.is_dir() {
        return Ok(dir);
    }
    // A link that was named gives the file its name.
    let mut files = fs::read_dir(&dir).map_err(failed)?;
    match files.next() {
        Some(file) => Ok(file.map_err(failed)?.path()),
        None => Ok(dir),
    }
}

fn io(plan_run: &PlanRun, operation: &'static str, source: std::io::Error) -> StepError {
    StepError::Io {
        operation,
        path: plan_run.run.work.clone(),
        source,
    }
}

/// A part of a view as COPY would place it at the root of an empty image.
pub(crate) fn items_of(
    plan_run: &PlanRun,
    view: &Arc<dyn FileView>,
    source: &str,
    keep_owner: bool,
) -> Result<Items, StepError> {
    let excludes = PatternSet::default();
    let request = CopyRequest {
        view,
        sources: &[CopySource::Path(source.as_bytes().to_vec())],
        destination: b"/",
        workdir: b"/",
        owner: None,
        keep_owner,
        chmod: None,
        excludes: &excludes,
        parents: false,
        unpack_local: false,
        unpack_fetched: false,
        now: plan_run.run.clock.seconds(),
        spool: &plan_run.run.spool,
    };
    Ok(plan(&request, &TreeIndex::default())?.items)
}

/// Copies a part of a view into a directory of this machine, as COPY would.
pub(super) fn unpack_view(
    plan_run: &PlanRun,
    view: &Arc<dyn FileView>,
    source: &str,
    keep_owner: bool,
    into: &Path,
) -> Result<(), StepError> {
    let items = items_of(plan_run, view, source, keep_owner)?;
    let file = tempfile::tempfile_in(&plan_run.run.work)
        .map_err(|source| io(plan_run, "write to", source))?;
    let sink = file
        .try_clone()
        .map_err(|source| io(plan_run, "write to", source))?;
    let options = WriterOptions {
        threads: 1,
        ..WriterOptions::default()
    };
    let packed = |error| StepError::Pack(Arc::new(error));
    let mut writer = LayerWriter::new(sink, Compression::None, options);
    write_items(&items, &mut writer).map_err(packed)?;
    writer
        .finish()
        .map_err(|source| packed(PackError::Write(source)))?;
    let mut file = file;
    std::io::Seek::rewind(&mut file).map_err(|source| io(plan_run, "read", source))?;
    let layer = |source| {
        StepError::Copy(CopyError::Archive {
            archive: into.display().to_string(),
            source,
        })
    };
    let root = Root::open(into).map_err(layer)?;
    let options = ExtractOptions {
        owners: plan_run.run.roots.owners(),
        keep_listing: false,
        ..ExtractOptions::default()
    };
    extract(LayerReader::new(file), &root, &options).map_err(layer)?;
    Ok(())
}

/// A directory of this machine with all files of a stage or image, for a mount; made once.
pub(super) fn expose(
    plan_run: &PlanRun,
    source: &Source,
    finished: &Finished,
) -> Result<PathBuf, StepError> {
    let mut exposed = plan_run
        .exposed
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = exposed.get(source) {
        return Ok(known.path().to_owned());
    }
    let (root, layers) = (finished.root(), finished.layers());
    let made = plan_run
        .run
        .roots
        .expose(root, finished.base_layers(), layers)?;
    let path = made.path().to_owned();
    exposed.insert(source.clone(), made);
    Ok(path)
}

/// Writes a file of the work folder that only its owner may read, unless `mode` says otherwise.
pub(super) fn write_private(path: &Path, content: &[u8], mode: u32) -> Result<(), StepError> {
    let failed = |source| StepError::Io {
        operation: "write",
        path: path.to_owned(),
        source,
    };
    fs::write(path, content).map_err(failed)?;
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(failed)
}

/// Makes the folder of cache mounts, or takes away what others may do with one of ours: commands leave setuid
/// programs in caches as anywhere else.
fn private_to_us(dir: &Path) -> std::io::Result<()> {
    if let Err(error) = private_dir(dir)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() {
        return Err(not_a_directory());
    }
    if found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 != 0 {
        fs::set_permissions(dir, PermissionsExt::from_mode(0o700))?;
    }
    Ok(())
}

/// What a link in the place of a folder of caches is answered with.
pub(super) fn not_a_directory() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::NotADirectory,
        "it is no directory, and none of ours is anything else; remove it",
    )
}
