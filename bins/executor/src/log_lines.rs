//! The events of a build as log lines.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kiln_engine::{Event, EventSink, ImageMade, Step, StepOutcome, Stream, Transfer, TransferKind};
use kiln_options::{COMMAND_ERRORS, COMMAND_OUTPUT, LogFormat, LogOptions, byte_size};

/// A step that made something without a command is told to be done if it took so long.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Logs every event as it comes.
#[derive(Debug)]
pub(crate) struct LogLines {
    /// Whether each line has to be a JSON object.
    json: bool,
    /// The stages that have begun: once there are two, the output of commands says whose it is.
    stages: Mutex<BTreeSet<String>>,
}

impl LogLines {
    pub(crate) fn new(options: &LogOptions) -> Self {
        Self {
            json: options.log_format == LogFormat::Json,
            stages: Mutex::default(),
        }
    }

    /// How a step ended: for all to see if that took long, or if a command ran, whose output may be far above.
    fn ended(step: &Step, outcome: StepOutcome, took: Duration) {
        let seconds = took.as_secs_f64();
        let worth = took >= WORTH_TELLING || outcome == StepOutcome::Ran;
        match outcome {
            StepOutcome::Failed => tracing::info!("[{step}] failed after {seconds:.1} s"),
            StepOutcome::Stopped => tracing::debug!("[{step}] stopped after {seconds:.1} s"),
            StepOutcome::Ran | StepOutcome::Made | StepOutcome::Cached | StepOutcome::Shared => {
                if worth {
                    tracing::info!("[{step}] done in {seconds:.1} s");
                } else {
                    tracing::debug!("[{step}] done in {seconds:.1} s");
                }
            }
        }
    }

    /// Blobs that came are told to all; what else moves is for those who look closely.
    fn transferred(transfer: &Transfer, moved: u64, took: Duration, done: bool) {
        let name = transfer.kind.name();
        match (transfer.kind, &transfer.digest) {
            (TransferKind::Pull, Some(digest)) if done => {
                tracing::info!("fetched {digest}: {}", byte_size(moved));
            }
            _ => tracing::debug!(
                "{name} {}{}{} in {:.1} s",
                transfer
                    .digest
                    .map(|digest| format!("{digest}: "))
                    .unwrap_or_default(),
                byte_size(moved),
                if done { "" } else { ", not to its end," },
                took.as_secs_f64()
            ),
        }
    }

    /// What a RUN command wrote is passed on whatever the verbosity, to where the command wrote it, as kaniko does.
    fn output(&self, stage: &str, stream: Stream, line: &[u8]) {
        if self.json {
            let line = String::from_utf8_lossy(line);
            match stream {
                Stream::Stdout => tracing::info!(target: COMMAND_OUTPUT, stage, "{line}"),
                Stream::Stderr => tracing::info!(target: COMMAND_ERRORS, stage, "{line}"),
            }
            return;
        }
        let mut text = Vec::with_capacity(line.len() + stage.len() + 4);
        if self
            .stages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
            > 1
        {
            text.extend_from_slice(format!("[{stage}] ").as_bytes());
        }
        text.extend_from_slice(line);
        text.push(b'\n');
        // A reader who has gone, or a disk that is full, is no reason to end the build: the log is not its result.
        let _ = match stream {
            Stream::Stdout => std::io::stdout().write_all(&text),
            Stream::Stderr => std::io::stderr().write_all(&text),
        };
    }
}

impl EventSink for LogLines {
    fn event(&self, event: Event) {
        match event {
            Event::Note { text, .. } => tracing::info!("{text}"),
            Event::Warning { kind, text } if kind.is_grave() => tracing::error!("{text}"),
            Event::Warning { text, .. } => tracing::warn!("{text}"),
            Event::StageBegun { stage, steps } => {
                tracing::debug!("[{stage}] begins: {steps} steps");
            }
            Event::StageWaiting { stage, on } => {
                tracing::debug!("[{stage}] waiting for stage {on}");
            }
            Event::StageEnded { stage, took, .. } => {
                tracing::debug!("[{stage}] over after {:.1} s", took.as_secs_f64());
            }
            Event::StepWaiting { step, on } => tracing::info!("[{step}] waiting for {on}"),
            Event::StepBegun { step, text } => {
                tracing::info!("[{step}] {text}");
                self.stages
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(step.stage.name);
            }
            Event::StepEnded {
                step,
                took,
                outcome,
                ..
            } => Self::ended(&step, outcome, took),
            Event::StepCached { step, place } => {
                tracing::info!("[{} {}] cached in {place}", step.stage, step.number);
            }
            Event::StepMissed { step, text, reason } => {
                let text = text.lines().next().unwrap_or_default();
                let (stage, number) = (step.stage, step.number);
                tracing::info!("[{stage} {number}] not cached: {text}: {reason}");
            }
            Event::Output { step, stream, line } => self.output(&step.stage.name, stream, &line),
            Event::LayerPacked {
                subject,
                digest,
                size,
                uncompressed_size,
            } => {
                let of = subject
                    .map(|subject| format!("of [{subject}] "))
                    .unwrap_or_default();
                tracing::info!(
                    "packed layer {of}{digest}: {} from {}",
                    byte_size(size),
                    byte_size(uncompressed_size)
                );
            }
            Event::TransferEnded {
                transfer,
                moved,
                took,
                done,
            } => Self::transferred(&transfer, moved, took, done),
            // What is drawn while it moves, not logged.
            Event::TransferBegun { .. } | Event::TransferMoved { .. } | Event::BuildBegun => {}
            Event::BuildEnded { image, .. } => {
                if let Some(ImageMade { digest, size }) = image {
                    tracing::info!("built {digest}, {} in layers", byte_size(size));
                }
            }
            Event::Pushed { reference, digest } => tracing::info!("pushed {reference}@{digest}"),
            other => tracing::debug!("{other:?}"),
        }
    }
}
