//! Events as people may see them.

use std::borrow::Cow;
use std::sync::Arc;

use kiln_shown::for_people;

use crate::{Event, EventSink, Subject, Transfer};

/// Passes events on as people may see them: instructions, errors and names may have URLs with a password in them.
#[derive(Debug, Clone)]
pub struct Careful(Arc<dyn EventSink>);

impl Careful {
    /// In front of a caller's sink.
    pub fn before(sink: Arc<dyn EventSink>) -> Arc<dyn EventSink> {
        Arc::new(Careful(sink))
    }
}

impl EventSink for Careful {
    fn event(&self, mut event: Event) {
        match &mut event {
            Event::Note { text, .. }
            | Event::Warning { text, .. }
            | Event::StepBegun { text, .. } => clean(text),
            Event::StepMissed { text, reason, .. } => {
                clean(text);
                clean(reason);
            }
            Event::StepCached { place, .. } => clean(place),
            Event::LayerPacked { subject, .. } => subject.iter_mut().for_each(clean_subject),
            Event::TransferBegun { transfer }
            | Event::TransferMoved { transfer, .. }
            | Event::TransferEnded { transfer, .. } => clean_transfer(transfer),
            Event::BuildBegun
            | Event::BuildEnded { .. }
            | Event::StageBegun { .. }
            | Event::StageWaiting { .. }
            | Event::StageEnded { .. }
            | Event::StepWaiting { .. }
            | Event::StepEnded { .. }
            | Event::Output { .. }
            | Event::Pushed { .. } => {}
        }
        self.0.event(event);
    }
}

fn clean(text: &mut String) {
    if let Cow::Owned(shown) = for_people(text) {
        *text = shown;
    }
}

fn clean_transfer(transfer: &mut Transfer) {
    transfer.subject.iter_mut().for_each(clean_subject);
    transfer.repository.iter_mut().for_each(clean);
}

fn clean_subject(subject: &mut Subject) {
    match subject {
        Subject::Image(name) | Subject::Archive(name) | Subject::Cache(name) => clean(name),
        Subject::Step(_) | Subject::Stage(_) | Subject::AllSteps => {}
    }
}
