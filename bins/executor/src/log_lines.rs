//! The events of a build as log lines.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use kiln_engine::{Event, EventSink, Stream};
use kiln_options::{COMMAND_ERRORS, COMMAND_OUTPUT, LogFormat, LogOptions, byte_size};

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
            Event::Info(text) => tracing::info!("{text}"),
            Event::Warning(text) => tracing::warn!("{text}"),
            Event::StepStarted {
                stage,
                number,
                total,
                text,
            } => {
                tracing::info!("[{stage} {number}/{total}] {text}");
                self.stages
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(stage);
            }
            Event::StepFinished {
                stage,
                number,
                took,
            } => {
                tracing::debug!("[{stage} {number}] done in {:.1} s", took.as_secs_f64());
            }
            Event::StepCached {
                stage,
                number,
                place,
            } => tracing::info!("[{stage} {number}] cached in {place}"),
            Event::StepMissed {
                stage,
                number,
                text,
                reason,
            } => {
                let text = text.lines().next().unwrap_or_default();
                tracing::info!("[{stage} {number}] not cached: {text}: {reason}");
            }
            Event::Output {
                stage,
                stream,
                line,
            } => self.output(&stage, stream, &line),
            Event::LayerPacked {
                step,
                digest,
                size,
                uncompressed_size,
            } => {
                let of = step.map(|step| format!("of [{step}] ")).unwrap_or_default();
                tracing::info!(
                    "packed layer {of}{digest}: {} from {}",
                    byte_size(size),
                    byte_size(uncompressed_size)
                );
            }
            Event::BlobFetched { digest, size } => {
                tracing::info!("fetched {digest}: {}", byte_size(size));
            }
            Event::Pushed { reference, digest } => tracing::info!("pushed {reference}@{digest}"),
            other => tracing::debug!("{other:?}"),
        }
    }
}
