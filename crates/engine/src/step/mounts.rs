//! `RUN --mount`: what is shown to one command and is in no layer (conformance D24-D38).

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_dockerfile::{Mount, MountError, MountType, Run, Sharing};
use kiln_layer::{ImagePath, Root};
use kiln_oci::Digest;
use kiln_sandbox::SandboxMount;
use rustix::fs::FlockOperation;
use tempfile::TempDir;

use super::agent::AgentProxy;
use super::shown::{
    cache_mounts, context_copy, context_path, copy_aside, expose, not_a_directory, unpack_view,
    write_private,
};
use super::{StepError, Stepper};
use crate::plan_run::PlanRun;
use kiln_plan::plan::Source;

/// Where ids without a target appear (D34).
const SECRET_DIR: &str = "/run/secrets";

/// Where agents without a target appear (D37).
const AGENT_DIR: &str = "/run/buildkit";

/// The mode of a cache that asks for none (D30).
const CACHE_MODE: u32 = 0o755;

/// The mounts of one RUN; everything made for them goes when this does.
#[derive(Debug, Default)]
pub(super) struct Mounts {
    pub(super) list: Vec<SandboxMount>,
    /// Variables that secrets bring.
    pub(super) env: Vec<(String, String)>,
    /// Holds secrets; removed on drop.
    hidden: Option<TempDir>,
    /// Holds scripts and sockets, which the image's own users use; removed on drop.
    shown: Option<TempDir>,
    /// Held while the command runs: `sharing=locked` and `private`.
    locks: Vec<File>,
    /// SSH agents shown, in the order of their mounts.
    agents: Vec<AgentProxy>,
    /// Where the first of them is: `SSH_AUTH_SOCK`, unless the command has one already.
    pub(super) agent_socket: Option<String>,
}

impl Mounts {
    /// Understands every `--mount` of a RUN and makes its sources.
    pub(super) fn prepare(step: &mut Stepper<'_>, run: &Run) -> Result<Mounts, StepError> {
        let mut mounts = Mounts::default();
        for raw in &run.mounts {
            let mount = step.parsed_mount(raw)?;
            match mount.kind {
                MountType::Bind => mounts.bind(step, &mount)?,
                MountType::Cache => mounts.cache(step, &mount)?,
                MountType::Tmpfs => mounts.tmpfs(step, &mount),
                MountType::Secret => mounts.secret(step, &mount)?,
                MountType::Ssh => mounts.ssh(step, &mount)?,
            }
        }
        Ok(mounts)
    }

    /// A path for a secret of this RUN, in a folder that only we can enter.
    fn hidden_file(&mut self, plan_run: &PlanRun, id: &str) -> Result<PathBuf, StepError> {
        let dir = folder(&mut self.hidden, &plan_run.run.work)?;
        Ok(dir.join(Digest::of(id.as_bytes()).hex()))
    }

    /// A path for a file of this RUN that users of the image reach where it is, in place.
    pub(super) fn shown_file(
        &mut self,
        plan_run: &PlanRun,
        name: &str,
    ) -> Result<PathBuf, StepError> {
        let dir = folder(&mut self.shown, &plan_run.run.shown)?;
        let open = Permissions::from_mode(0o711);
        fs::set_permissions(dir, open).map_err(io("prepare", dir))?;
        Ok(dir.join(name))
    }

    /// A file or directory of the context, a stage or an image; writes are thrown away (D28).
    fn bind(&mut self, step: &mut Stepper<'_>, mount: &Mount) -> Result<(), StepError> {
        let source = mount.source.as_deref().unwrap_or("/");
        let source = match &mount.from {
            // What is moved into place must be a copy: the command writes to it.
            None if step.plan_run.run.roots.one_at_a_time() => context_copy(step.plan_run, source)?,
            None => context_path(step.plan_run, source)?,
            Some(from) if step.plan_run.run.roots.one_at_a_time() => {
                copy_aside(step.plan_run, &step.view_of(from)?, source, true)?
            }
            Some(from) => stage_path(step, from, source)?,
        };
        let read_only = mount.read_only.unwrap_or(true);
        self.list.push(SandboxMount::Bind {
            source,
            target: target(step, mount),
            read_only,
            discard_writes: !read_only,
        });
        Ok(())
    }

    /// A directory that outlives the build (D30-D32).
    fn cache(&mut self, step: &mut Stepper<'_>, mount: &Mount) -> Result<(), StepError> {
        let target = target(step, mount);
        let name = cache_name(step, mount, &target)?;
        let store = cache_mounts(step.plan_run)?;
        let mut dir = store.join(&name);
        let sharing = match mount.sharing.unwrap_or_default() {
            // A cache that is moved into place is nowhere else meanwhile.
            Sharing::Shared if step.plan_run.run.roots.one_at_a_time() => Sharing::Locked,
            sharing => sharing,
        };
        match sharing {
            Sharing::Shared => {}
            Sharing::Locked => {
                let lock = lock_file(&store, &name)?;
                rustix::fs::flock(&lock, FlockOperation::LockExclusive)
                    .map_err(|error| io("lock", &dir)(error.into()))?;
                self.locks.push(lock);
            }
            Sharing::Private => {
                let mut number = 0;
                loop {
                    let lock = lock_file(&store, &format!("{name}.{number}"))?;
                    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                        self.locks.push(lock);
                        break;
                    }
                    number += 1;
                }
                dir = store.join(format!("{name}.{number}"));
            }
        }
        // Never through a link: others who share the volume could have it lead anywhere.
        match fs::symlink_metadata(&dir) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(io("use the cache at", &dir)(not_a_directory())),
            Err(_) => seed_cache(step, mount, &store, &dir)?,
        }
        let source = match &mount.source {
            Some(source) if mount.from.is_none() => inside(&dir, source)?,
            _ => dir,
        };
        self.list.push(SandboxMount::Bind {
            source,
            target,
            read_only: mount.read_only.unwrap_or(false),
            discard_writes: false,
        });
        Ok(())
    }

    fn tmpfs(&mut self, step: &Stepper<'_>, mount: &Mount) {
        self.list.push(SandboxMount::Tmpfs {
            target: target(step, mount),
            size: mount.size,
            mode: 0o1777,
        });
    }

    /// A file, a variable, or both (D34-D36).
    fn secret(&mut self, step: &mut Stepper<'_>, mount: &Mount) -> Result<(), StepError> {
        let from_target = mount
            .target
            .as_deref()
            .and_then(|target| target.rsplit('/').next());
        let id = mount
            .id
            .as_deref()
            .or(from_target)
            .unwrap_or_default()
            .to_owned();
        let Some(value) = step.plan_run.run.held.secret(&id)? else {
            if mount.required {
                return Err(StepError::SecretMissing { id });
            }
            return Ok(());
        };
        if let Some(name) = &mount.env {
            let value = String::from_utf8_lossy(&value).into_owned();
            self.env.push((name.clone(), value));
            if mount.target.is_none() {
                return Ok(());
            }
        }
        let file = self.hidden_file(step.plan_run, &id)?;
        write_private(&file, &value, mount.mode.unwrap_or(0o400))?;
        let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        if (uid, gid) != (0, 0) {
            chown(&file, Some(uid), Some(gid)).map_err(io("give away", &file))?;
        }
        let target = match &mount.target {
            Some(_) => target(step, mount),
            None => Path::new(SECRET_DIR).join(&id),
        };
        self.list.push(SandboxMount::Bind {
            source: file,
            target,
            read_only: true,
            discard_writes: false,
        });
        Ok(())
    }

    /// A socket that leads to an agent, if one was given (D37).
    fn ssh(&mut self, step: &mut Stepper<'_>, mount: &Mount) -> Result<(), StepError> {
        let id = mount.id.as_deref().unwrap_or("default");
        let Some(agent) = step.plan_run.run.held.agent(id) else {
            if mount.required {
                return Err(StepError::AgentMissing { id: id.to_owned() });
            }
            return Ok(());
        };
        let number = self.agents.len();
        let source = self.shown_file(step.plan_run, &format!("ssh{number}"))?;
        let (mode, uid) = (mount.mode.unwrap_or(0o600), mount.uid.unwrap_or(0));
        let owner = (uid, mount.gid.unwrap_or(0));
        let proxy = AgentProxy::start(
            &source,
            agent.path(),
            mode,
            owner,
            Arc::clone(&step.plan_run.run.events),
        );
        self.agents.push(proxy.map_err(io("listen at", &source))?);
        let target = match &mount.target {
            Some(_) => target(step, mount),
            None => PathBuf::from(format!("{AGENT_DIR}/ssh_agent.{number}")),
        };
        if number == 0 {
            self.agent_socket = Some(target.display().to_string());
        }
        self.list.push(SandboxMount::Bind {
            source,
            target,
            read_only: true,
            discard_writes: false,
        });
        Ok(())
    }
}

impl Stepper<'_> {
    /// A `--mount` with its words expanded.
    pub(super) fn parsed_mount(&self, raw: &str) -> Result<Mount, StepError> {
        let (expander, scope) = (&self.plan_run.plan.expander, &self.state.scope);
        let wrong = |source| StepError::Mount {
            mount: raw.to_owned(),
            source,
        };
        let mount = Mount::parse(raw, &mut |word| Ok(expander.word(word, scope)?.text));
        let mount = mount.map_err(wrong)?;
        for path in mount.target.iter().chain(&mount.source) {
            Self::check_path("path of a mount", path)?;
        }
        let own = mount.kind.has_own_target();
        if !own && ImagePath::from(target(self, &mount).as_path()).is_root() {
            return Err(wrong(MountError::Target {
                kind: mount.kind.as_str(),
                target: mount.target.unwrap_or_default(),
            }));
        }
        Ok(mount)
    }
}

/// The target below the root; a relative one, or none, is joined to the working directory (D25).
fn target(step: &Stepper<'_>, mount: &Mount) -> PathBuf {
    let written = mount.target.as_deref().unwrap_or_default();
    Path::new(step.state.workdir()).join(written)
}

/// A folder that is made when it is first needed.
fn folder<'a>(made: &'a mut Option<TempDir>, parent: &Path) -> Result<&'a Path, StepError> {
    let dir = match made {
        Some(dir) => dir,
        none => none.insert(tempfile::tempdir_in(parent).map_err(io("write to", parent))?),
    };
    Ok(dir.path())
}

fn io(operation: &'static str, path: &Path) -> impl Fn(std::io::Error) -> StepError + use<> {
    let path = path.to_owned();
    move |source| StepError::Io {
        operation,
        path: path.clone(),
        source,
    }
}

fn lock_file(store: &Path, name: &str) -> Result<File, StepError> {
    let path = store.join(format!("{name}.lock"));
    let mut how = File::options();
    how.create(true).truncate(false);
    kiln_oci::open_file_to_write(&path, &mut how).map_err(io("lock", &path))
}

/// The name of a cache in the store: hashed, so that an id cannot be a path (D32). Caches that begin with other files,
/// another owner or another mode are others, whatever their id (D30); what is not said is not told apart from what it
/// was before it could be said.
fn cache_name(step: &Stepper<'_>, mount: &Mount, target: &Path) -> Result<String, StepError> {
    let mut name = match &mount.id {
        Some(id) => id.clone(),
        // As a path is written, so that `id=/root/.cache` names the same cache.
        None => format!("/{}", ImagePath::from(target)),
    };
    let source = ImagePath::from_bytes_cleaned(mount.source.as_deref().unwrap_or("/").as_bytes());
    let asked = mount.uid.is_some() || mount.gid.is_some() || mount.mode.is_some();
    // The owner and mode are those of the cache's own directory, not of one inside.
    if asked && (source.is_root() || mount.from.is_some()) {
        let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
        let mode = mount.mode.unwrap_or(CACHE_MODE);
        let _ = write!(name, "\0owner {uid}:{gid} {mode:o}");
    }
    if let Some(from) = &mount.from {
        let named = step.plan_run.plan.source_of(step.stage, from, step.span);
        let origin = match named.map_err(|(_, error)| error)? {
            // As good as no `from`.
            Source::Scratch => None,
            Source::Stage(stage) => Some(step.plan_run.plan.stage_name(stage)),
            Source::Image(image, platform) => Some(format!("{image} {platform}")),
            Source::Files(_) => Some(from.to_lowercase()),
        };
        if let Some(origin) = origin {
            let _ = write!(name, "\0from {origin} {source}");
        }
    }
    Ok(Digest::of(name.as_bytes()).hex())
}

/// Makes a new cache directory, from a stage or image if the mount names one (D30).
fn seed_cache(
    step: &mut Stepper<'_>,
    mount: &Mount,
    store: &Path,
    dir: &Path,
) -> Result<(), StepError> {
    // Built aside and renamed, so that nobody meets half a seed.
    let fresh = tempfile::tempdir_in(store).map_err(io("write to", store))?;
    if let Some(from) = &mount.from {
        let source = mount.source.as_deref().unwrap_or("/");
        unpack_view(
            step.plan_run,
            &step.view_of(from)?,
            source,
            true,
            fresh.path(),
        )?;
    }
    let mode = mount.mode.unwrap_or(CACHE_MODE);
    fs::set_permissions(fresh.path(), Permissions::from_mode(mode))
        .map_err(io("prepare", fresh.path()))?;
    let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
    if (uid, gid) != (0, 0) {
        chown(fresh.path(), Some(uid), Some(gid)).map_err(io("give away", fresh.path()))?;
    }
    match fs::rename(fresh.path(), dir) {
        Ok(()) => {
            // It has another name now.
            let _ = fresh.keep();
            Ok(())
        }
        // Another build made it meanwhile.
        Err(_) if dir.exists() => Ok(()),
        Err(source) => Err(io("rename", dir)(source)),
    }
}

/// A path inside `dir`, symlinks resolved as if `dir` were the root (D32).
fn inside(dir: &Path, source: &str) -> Result<PathBuf, StepError> {
    let root = Root::open(dir)?;
    let found = root.resolve(source.as_bytes(), true)?;
    if found.missing > 0 {
        return Err(missing(source));
    }
    Ok(dir.join(found.path.as_path()))
}

fn missing(source: &str) -> StepError {
    StepError::MountSource {
        path: source.trim_start_matches('/').to_owned(),
    }
}

/// A directory or file of another stage or image, on this machine.
fn stage_path(step: &mut Stepper<'_>, from: &str, source: &str) -> Result<PathBuf, StepError> {
    let named = step
        .plan_run
        .plan
        .source_of(step.stage, from, step.span)
        .map_err(|(_, error)| error)?;
    if let Source::Files(number) = named {
        let view = step.plan_run.run.sources.named_view(number)?;
        return copy_aside(step.plan_run, &view, source, false);
    }
    let finished = step
        .plan_run
        .wait_for(&named)
        .ok_or(StepError::Dependency)?;
    let dir = expose(step.plan_run, &named, &finished)?;
    inside(&dir, source)
}
