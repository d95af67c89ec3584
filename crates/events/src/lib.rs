//! What a build tells while it runs. The library never draws and never writes to a log: it hands these values to one
//! sink.

mod careful;
mod kind;
mod subject;
mod transfer;
mod turn;

use std::fmt;
use std::time::Duration;

use kiln_oci::{Digest, Reference};
use kiln_sandbox::Stream;

pub use careful::Careful;
pub use kind::{NoteKind, WarningKind};
pub use subject::{Stage, Step, Subject};
pub use transfer::{Meter, Metered, Transfer, TransferId, TransferKind};
pub use turn::Turn;

/// Something that happened in a build. What one stage does comes in its order; stages run side by side.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A plain fact.
    Note {
        /// What it is about.
        kind: NoteKind,
        /// One line for people.
        text: String,
    },
    /// Something the user should look at, which does not stop the build.
    Warning {
        /// What it is about.
        kind: WarningKind,
        /// One line for people.
        text: String,
    },
    /// A build begins.
    BuildBegun,
    /// A build has ended, whatever came of it; nothing is told after it.
    BuildEnded {
        /// From its beginning to now.
        took: Duration,
        /// The image; `None` when the build failed.
        image: Option<ImageMade>,
    },
    /// A stage begins. It begins once more where a cached layer turned out to be broken.
    StageBegun {
        /// The stage.
        stage: Stage,
        /// How many steps it has.
        steps: usize,
    },
    /// A stage waits for the one that it is FROM.
    StageWaiting {
        /// The stage.
        stage: Stage,
        /// The stage that it waits for.
        on: Stage,
    },
    /// A stage has ended. Its last layers may still be packed.
    StageEnded {
        /// The stage.
        stage: Stage,
        /// From its beginning to now, with all waiting.
        took: Duration,
        /// What came of it.
        outcome: StageOutcome,
    },
    /// It is a step's turn, or it has begun, and it waits.
    StepWaiting {
        /// The step.
        step: Step,
        /// What it waits for.
        on: WaitingFor,
    },
    /// A step begins to work.
    StepBegun {
        /// The step.
        step: Step,
        /// The instruction as it is written.
        text: String,
    },
    /// The step that began is in the cache; nothing is executed.
    StepCached {
        /// The step.
        step: Step,
        /// The place of the cache that has it.
        place: String,
    },
    /// A step is not in the cache. Told when the reason is known, which may be before its turn or after its end.
    StepMissed {
        /// The step.
        step: Step,
        /// The instruction as it is written.
        text: String,
        /// What is different from the build before.
        reason: String,
    },
    /// A step that began has ended.
    StepEnded {
        /// The step.
        step: Step,
        /// How long it worked, without waiting.
        took: Duration,
        /// How long it waited for others.
        waited: Duration,
        /// What came of it.
        outcome: StepOutcome,
        /// The layer it made.
        layer: StepLayer,
    },
    /// A line that a RUN command wrote, without its line end. The one text that is passed on as it came.
    Output {
        /// The step.
        step: Step,
        /// Where the command wrote it.
        stream: Stream,
        /// The bytes as they came; not always UTF-8.
        line: Vec<u8>,
    },
    /// A layer was packed: its blob exists in the work folder.
    LayerPacked {
        /// What made it; `None` for one that was not built here.
        subject: Option<Subject>,
        /// Digest of the blob.
        digest: Digest,
        /// Size of the blob in bytes.
        size: u64,
        /// Size of the tar stream in bytes.
        uncompressed_size: u64,
    },
    /// The first byte of a transfer is on its way.
    TransferBegun {
        /// The transfer.
        transfer: Transfer,
    },
    /// A transfer goes on. Told of one transfer no more than every tenth of a second, and of a short one never.
    TransferMoved {
        /// The transfer.
        transfer: Transfer,
        /// Bytes that have moved so far; fewer than before if it had to begin again.
        moved: u64,
    },
    /// A transfer that began has ended.
    TransferEnded {
        /// The transfer.
        transfer: Transfer,
        /// Bytes that have moved.
        moved: u64,
        /// From its first byte to now.
        took: Duration,
        /// Whether all of it is there; otherwise it failed or was given up.
        done: bool,
    },
    /// An image is in a registry.
    Pushed {
        /// Where it was pushed.
        reference: Reference,
        /// Digest of its manifest.
        digest: Digest,
    },
}

impl Event {
    /// A plain fact.
    pub fn note(kind: NoteKind, text: impl Into<String>) -> Event {
        let text = text.into();
        Event::Note { kind, text }
    }

    /// Something the user should look at.
    pub fn warning(kind: WarningKind, text: impl Into<String>) -> Event {
        let text = text.into();
        Event::Warning { kind, text }
    }
}

/// The image that a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageMade {
    /// Digest of its manifest.
    pub digest: Digest,
    /// Bytes of all its layers, as they are transferred.
    pub size: u64,
}

/// What came of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageOutcome {
    /// All its steps are done.
    Done,
    /// A step failed, or its base cannot be had.
    Failed,
    /// The build was interrupted, or another stage failed.
    Stopped,
}

/// What a step waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitingFor {
    /// A stage that it reads.
    Stage(Stage),
    /// The same step in another stage, whose layer it will have, too.
    SameStep,
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitingFor::Stage(stage) => write!(f, "stage {stage}"),
            WaitingFor::SameStep => f.write_str("the same step of another stage"),
        }
    }
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepOutcome {
    /// Its command ran.
    Ran,
    /// It changed files or the configuration, without a command.
    Made,
    /// It was in the cache.
    Cached,
    /// Another stage of this build had the same step, whose layer was taken.
    Shared,
    /// It failed.
    Failed,
    /// The build was interrupted, or another stage failed.
    Stopped,
}

/// The layer that a step made, as far as it is known when the step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepLayer {
    /// There is none.
    None,
    /// It is being packed; [`Event::LayerPacked`] follows.
    Packing,
    /// It is there.
    There {
        /// Digest of the blob.
        digest: Digest,
        /// Size of the blob in bytes.
        size: u64,
        /// Size of the tar stream in bytes; not known of a layer that was cached.
        uncompressed_size: Option<u64>,
    },
}

/// Receives the events of a build, from several threads at once.
pub trait EventSink: Send + Sync {
    /// Takes one event; must return quickly, since the build waits for it.
    fn event(&self, event: Event);
}

impl fmt::Debug for dyn EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
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
