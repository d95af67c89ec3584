//! Between `oci-spec`'s configuration and a draft. Its fields are set one by one, and cannot be taken out without a copy.

use oci_spec::image as spec;

use super::{Beyond, ConfigDraft, ContainerConfig, History, ImageConfig, RootFs};
use crate::descriptor::{sorted, spec_map};
use crate::platform::{spec_arch, unless_empty};

impl From<ConfigDraft> for ImageConfig {
    fn from(draft: ConfigDraft) -> Self {
        let (container, mut beyond) = container(draft.config);
        beyond.top = draft.extra;
        let mut spec = spec::ImageConfiguration::default();
        spec.set_architecture(spec_arch(&draft.architecture))
            .set_author(draft.author)
            .set_config(Some(container))
            .set_created(draft.created)
            .set_history(unless_empty(draft.history.into_iter().map(entry).collect()))
            .set_os(draft.os.as_str().into())
            .set_os_features(unless_empty(draft.os_features))
            .set_os_version(draft.os_version)
            .set_variant(draft.variant);
        let diff_ids = draft.rootfs.diff_ids;
        let mut rootfs = spec::RootFs::default();
        rootfs
            .set_typ(draft.rootfs.kind)
            .set_diff_ids(diff_ids.iter().map(ToString::to_string).collect());
        spec.set_rootfs(rootfs);
        Self {
            spec,
            diff_ids,
            beyond,
        }
    }
}

fn container(from: ContainerConfig) -> (spec::Config, Beyond) {
    let mut config = spec::Config::default();
    config
        .set_user(Some(from.user).filter(|user| !user.is_empty()))
        .set_exposed_ports(unless_empty(from.exposed_ports.into_iter().collect()))
        .set_env(unless_empty(from.env))
        .set_entrypoint(from.entrypoint.and_then(unless_empty))
        .set_cmd(from.cmd.and_then(unless_empty))
        .set_volumes(unless_empty(from.volumes.into_iter().collect()))
        .set_working_dir(Some(from.working_dir).filter(|dir| !dir.is_empty()))
        .set_labels(spec_map(from.labels))
        .set_stop_signal(from.stop_signal);
    let beyond = Beyond {
        args_escaped: from.args_escaped,
        healthcheck: from.healthcheck,
        on_build: from.on_build,
        shell: from.shell.and_then(unless_empty),
        top: serde_json::Map::new(),
        container: from.extra,
    };
    (config, beyond)
}

fn entry(from: History) -> spec::History {
    let mut entry = spec::History::default();
    entry
        .set_created(from.created)
        .set_created_by(from.created_by)
        .set_author(from.author)
        .set_comment(from.comment)
        .set_empty_layer(Some(true).filter(|_| from.empty_layer));
    entry
}

impl ImageConfig {
    /// What it says, to be changed.
    pub fn draft(&self) -> ConfigDraft {
        let spec = &self.spec;
        let history = spec.history().iter().flatten();
        ConfigDraft {
            architecture: spec.architecture().to_string(),
            author: spec.author().clone(),
            config: self.container_draft(),
            created: spec.created().clone(),
            history: history.map(entry_draft).collect(),
            os: spec.os().to_string(),
            os_features: spec.os_features().clone().unwrap_or_default(),
            os_version: spec.os_version().clone(),
            rootfs: RootFs {
                kind: spec.rootfs().typ().clone(),
                diff_ids: self.diff_ids.clone(),
            },
            variant: spec.variant().clone(),
            extra: self.beyond.top.clone(),
        }
    }

    fn container_draft(&self) -> ContainerConfig {
        let beyond = &self.beyond;
        let none = spec::Config::default();
        let from = self.spec.config().as_ref().unwrap_or(&none);
        let set = |list: &Option<Vec<String>>| list.iter().flatten().cloned().collect();
        ContainerConfig {
            user: from.user().clone().unwrap_or_default(),
            exposed_ports: set(from.exposed_ports()),
            env: from.env().clone().unwrap_or_default(),
            entrypoint: from.entrypoint().clone(),
            cmd: from.cmd().clone(),
            volumes: set(from.volumes()),
            working_dir: from.working_dir().clone().unwrap_or_default(),
            labels: sorted(from.labels().as_ref()),
            stop_signal: from.stop_signal().clone(),
            args_escaped: beyond.args_escaped,
            healthcheck: beyond.healthcheck.clone(),
            on_build: beyond.on_build.clone(),
            shell: beyond.shell.clone(),
            extra: beyond.container.clone(),
        }
    }
}

fn entry_draft(from: &spec::History) -> History {
    History {
        created: from.created().clone(),
        created_by: from.created_by().clone(),
        author: from.author().clone(),
        comment: from.comment().clone(),
        empty_layer: from.empty_layer() == Some(true),
    }
}
