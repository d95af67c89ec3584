//! `--single-snapshot`: all layers of our own become one with the end state (conformance G41).

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln_context::FileView;
use kiln_layer::{Entry, EntryKind, ImagePath, TreeIndex};

use crate::plan_run::PlanRun;
use crate::stage::Finished;
use crate::step::StepError;
use kiln_copy::{Content, Item, Items};
use kiln_events::Subject;
use kiln_store::layers::{Layer, Made};

/// The stage with exactly one layer on top of its base.
pub(crate) fn into_one(
    plan_run: &Arc<PlanRun>,
    stage: &Finished,
) -> Result<Arc<Finished>, StepError> {
    let (base, own) = stage.layers().split_at(stage.base_layers());
    let view = stage.view(&plan_run.run.blobs, &plan_run.run.work)?;
    let below = below(plan_run, base)?;
    let mut changed = Changed {
        below: &below,
        paths: BTreeMap::new(),
    };
    for layer in own {
        plan_run
            .run
            .blobs
            .visit_entries(layer, &mut |entry| changed.add(entry))?;
    }
    let items = changed.items(&view)?;
    let layer = plan_run
        .run
        .packer
        .start(Made::Items(items), Subject::AllSteps);
    let mut state = stage.continued();
    state
        .config
        .config
        .on_build
        .clone_from(&stage.config().config.on_build);
    state.layers = base.to_vec();
    state.layers.push(layer);
    mark_history(&mut state.config.history, own.len(), plan_run);
    Ok(Arc::new(state.finish()))
}

fn below(plan_run: &Arc<PlanRun>, base: &[Layer]) -> Result<TreeIndex, StepError> {
    let mut tree = TreeIndex::new();
    for (number, layer) in base.iter().enumerate() {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        plan_run.run.blobs.apply(layer, &mut tree, number)?;
    }
    Ok(tree)
}

/// The last own entry stands for the one layer; the entries before it have none any more.
fn mark_history(history: &mut Vec<kiln_oci::History>, own_layers: usize, plan_run: &PlanRun) {
    let mut left = own_layers;
    for entry in history.iter_mut().rev() {
        if left == 0 {
            break;
        }
        if !entry.empty_layer {
            entry.empty_layer = true;
            left -= 1;
        }
    }
    let ours = |entry: &&mut kiln_oci::History| {
        entry.comment.as_deref() == Some(kiln_image::history::COMMENT)
    };
    match history.last_mut().filter(ours) {
        Some(last) => last.empty_layer = false,
        None => history.push(kiln_oci::History {
            created: Some(plan_run.run.clock.rfc3339()),
            created_by: Some("single snapshot".to_owned()),
            comment: Some(kiln_image::history::COMMENT.to_owned()),
            ..kiln_oci::History::default()
        }),
    }
}

/// Which paths differ from the base, and how.
struct Changed<'a> {
    below: &'a TreeIndex,
    /// `true`: the path is there in the end; `false`: it was in the base and is gone.
    paths: BTreeMap<ImagePath, bool>,
}

impl Changed<'_> {
    fn add(&mut self, entry: &Entry) {
        match &entry.kind {
            EntryKind::Whiteout => self.remove(&entry.path),
            EntryKind::OpaqueMarker => {
                let children: Vec<ImagePath> = self
                    .below
                    .children(&entry.path)
                    .map(|(name, _)| entry.path.join(name))
                    .collect();
                for child in children {
                    self.remove(&child);
                }
            }
            EntryKind::Directory => {
                if self.paths.insert(entry.path.clone(), true) == Some(false) {
                    // Removed and made again: what the base had in it stays gone (G9).
                    self.add(&Entry::new(entry.path.clone(), EntryKind::OpaqueMarker));
                }
            }
            _ => {
                self.forget_below(&entry.path);
                self.paths.insert(entry.path.clone(), true);
            }
        }
    }

    fn remove(&mut self, path: &ImagePath) {
        self.forget_below(path);
        if self.below.get(path).is_some() {
            self.paths.insert(path.clone(), false);
        } else {
            self.paths.remove(path);
        }
    }

    fn forget_below(&mut self, path: &ImagePath) {
        let below: Vec<ImagePath> = self
            .paths
            .range(path.clone()..)
            .map(|(found, _)| found)
            .skip_while(|found| *found == path)
            .take_while(|found| found.starts_with(path))
            .cloned()
            .collect();
        for path in below {
            self.paths.remove(&path);
        }
    }

    /// The entries of the one layer, with attributes and content of the end state.
    fn items(&self, view: &Arc<dyn FileView>) -> Result<Items, StepError> {
        let mut items = Items::default();
        for (path, present) in &self.paths {
            let item = if *present {
                let Some(found) = view.lstat(path).map_err(StepError::Image)? else {
                    continue;
                };
                let content = match found.entry.kind {
                    EntryKind::File { size } if size > 0 => {
                        Content::View(Arc::clone(view), path.clone())
                    }
                    _ => Content::None,
                };
                Item {
                    entry: found.entry,
                    content,
                    link: found.link.map(|id| (0, id)),
                }
            } else {
                Item {
                    entry: Entry::whiteout(path.clone()),
                    content: Content::None,
                    link: None,
                }
            };
            items.put(item);
        }
        items.link_up();
        Ok(items)
    }
}
