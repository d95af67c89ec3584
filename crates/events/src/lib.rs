//! What a build tells while it runs. The library never draws: it hands these values to one sink.

use std::sync::Arc;
use std::time::Duration;

use kiln_oci::{Digest, Reference};
use kiln_sandbox::Stream;
use kiln_shown::for_people;

/// Something that happened in a build, in the order it happened within its stage.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A fact worth a log line.
    Info(String),
    /// Something the user should look at, which does not stop the build.
    Warning(String),
    /// A step of a stage begins.
    StepStarted {
        /// The stage's name, or its number when it has none.
        stage: String,
        /// Position of the step in its stage, from 1.
        number: usize,
        /// How many steps the stage has.
        total: usize,
        /// The instruction as it is written.
        text: String,
    },
    /// The step that began is in the cache; nothing is executed.
    StepCached {
        /// The stage's name, or its number when it has none.
        stage: String,
        /// Position of the step in its stage, from 1.
        number: usize,
        /// The place of the cache that has it.
        place: String,
    },
    /// A step is not in the cache.
    StepMissed {
        /// The stage's name, or its number when it has none.
        stage: String,
        /// Position of the step in its stage, from 1.
        number: usize,
        /// The instruction as it is written.
        text: String,
        /// What is different from the build before.
        reason: String,
    },
    /// A step of a stage is done.
    StepFinished {
        /// The stage's name, or its number when it has none.
        stage: String,
        /// Position of the step in its stage, from 1.
        number: usize,
        /// How long the step held up its stage.
        took: Duration,
    },
    /// A line that a RUN command wrote, without its line end. The one text that is passed on as it came.
    Output {
        /// The stage's name, or its number when it has none.
        stage: String,
        /// Where the command wrote it.
        stream: Stream,
        /// The bytes as they came; not always UTF-8.
        line: Vec<u8>,
    },
    /// A layer was packed: its blob exists in the work folder.
    LayerPacked {
        /// The step that made it: stage, number and how many steps the stage has. `None` for one that was not built
        /// here.
        step: Option<String>,
        /// Digest of the blob.
        digest: Digest,
        /// Size of the blob in bytes.
        size: u64,
        /// Size of the tar stream in bytes.
        uncompressed_size: u64,
    },
    /// A blob was fetched from a registry.
    BlobFetched {
        /// Digest of the blob.
        digest: Digest,
        /// Size of the blob in bytes.
        size: u64,
    },
    /// An image is in a registry.
    Pushed {
        /// Where it was pushed.
        reference: Reference,
        /// Digest of its manifest.
        digest: Digest,
    },
}

/// Receives the events of a build, from several threads at once.
pub trait EventSink: Send + Sync {
    /// Takes one event; must return quickly, since the build waits for it.
    fn event(&self, event: Event);
}

/// Passes events on as people may see them: instructions, errors and names may have URLs with a password in them.
#[derive(Clone)]
pub struct Careful(Arc<dyn EventSink>);

impl std::fmt::Debug for Careful {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Careful").finish_non_exhaustive()
    }
}

impl Careful {
    /// In front of a caller's sink.
    pub fn before(sink: Arc<dyn EventSink>) -> Arc<dyn EventSink> {
        Arc::new(Careful(sink))
    }
}

impl EventSink for Careful {
    fn event(&self, mut event: Event) {
        match &mut event {
            Event::Info(text) | Event::Warning(text) | Event::StepStarted { text, .. } => {
                clean(text);
            }
            Event::StepMissed { text, reason, .. } => {
                clean(text);
                clean(reason);
            }
            Event::StepCached { place, .. } => clean(place),
            Event::StepFinished { .. }
            | Event::Output { .. }
            | Event::LayerPacked { .. }
            | Event::BlobFetched { .. }
            | Event::Pushed { .. } => {}
        }
        self.0.event(event);
    }
}

fn clean(text: &mut String) {
    if let std::borrow::Cow::Owned(shown) = for_people(text) {
        *text = shown;
    }
}

/// Drops every event: the sink of an embedder who only wants the result.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl EventSink for Silent {
    fn event(&self, _event: Event) {}
}

impl<F: Fn(Event) + Send + Sync> EventSink for F {
    fn event(&self, event: Event) {
        self(event);
    }
}
