//! Writes what is traced to stderr, one line an event, and what commands write to where they wrote it.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::time::Instant;

use jiff::Timestamp;
use kiln_shown::for_people;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::env_vars::{self, Env};
use crate::{LogFormat, LogOptions, Verbosity};

/// Logging was started twice.
#[derive(Debug, thiserror::Error)]
#[error("cannot start logging")]
pub struct LogError(#[source] tracing_subscriber::util::TryInitError);

/// What is traced with this target, or with [`COMMAND_ERRORS`], are the words of a command: they are logged whatever the
/// verbosity, and as they are. These belong on stdout.
pub const COMMAND_OUTPUT: &str = "output";

/// As [`COMMAND_OUTPUT`], for stderr.
pub const COMMAND_ERRORS: &str = "output::errors";

/// Standard output for the words of commands, standard error for everything else.
#[derive(Debug, Clone, Copy)]
struct Streams;

impl<'a> MakeWriter<'a> for Streams {
    type Writer = Box<dyn io::Write>;

    fn make_writer(&'a self) -> Self::Writer {
        Box::new(io::stderr())
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        if meta.target() == COMMAND_OUTPUT {
            Box::new(io::stdout())
        } else {
            Box::new(io::stderr())
        }
    }
}

/// Sends everything traced from now on to stderr, for the rest of the process. There are colours only on a terminal;
/// `NO_COLOR` turns them off there, too.
pub fn start_logging(options: &LogOptions, env: &Env<'_>) -> Result<(), LogError> {
    let lines = Lines::new(options, env, io::stderr().is_terminal());
    tracing_subscriber::registry()
        .with(
            tracing_subscriber::fmt::layer()
                .with_writer(Streams)
                // Nobody is left to tell when both are closed.
                .log_internal_errors(false)
                .event_format(lines),
        )
        .with(filter(options.verbosity))
        .try_init()
        .map_err(LogError)
}

/// Other people's crates log no more than warnings: at trace level some of them print request headers (I39).
fn filter(verbosity: Verbosity) -> Targets {
    let level = match verbosity {
        Verbosity::Trace => LevelFilter::TRACE,
        Verbosity::Debug => LevelFilter::DEBUG,
        Verbosity::Info => LevelFilter::INFO,
        Verbosity::Warn => LevelFilter::WARN,
        Verbosity::Error => LevelFilter::ERROR,
        Verbosity::Fatal | Verbosity::Panic => LevelFilter::OFF,
    };
    Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(["kiln", "executor", "warmer"].map(|target| (target, level)))
        .with_target(COMMAND_OUTPUT, LevelFilter::TRACE)
}

/// The look of a line.
#[derive(Debug, Clone)]
struct Lines {
    format: LogFormat,
    colors: bool,
    timestamp: bool,
    start: Instant,
    now: fn() -> Timestamp,
}

impl Lines {
    fn new(options: &LogOptions, env: &Env<'_>, terminal: bool) -> Self {
        let plain = env(env_vars::NO_COLOR).is_some_and(|value| !value.is_empty());
        Self {
            format: options.log_format,
            colors: options.log_format == LogFormat::Color && terminal && !plain,
            timestamp: options.log_timestamp,
            start: Instant::now(),
            now: Timestamp::now,
        }
    }

    /// `INFO[0012] message key=value`, as kaniko's users know it.
    fn text(&self, writer: &mut Writer<'_>, level: Level, content: &Content) -> fmt::Result {
        let (name, color) = match level {
            Level::TRACE => ("TRAC", 37),
            Level::DEBUG => ("DEBU", 37),
            Level::INFO => ("INFO", 36),
            Level::WARN => ("WARN", 33),
            Level::ERROR => ("ERRO", 31),
        };
        if self.colors {
            write!(writer, "\x1b[{color}m{name}\x1b[0m")?;
        } else {
            writer.write_str(name)?;
        }
        if self.timestamp {
            write!(writer, "[{}] ", self.time())?;
        } else {
            write!(writer, "[{:04}] ", self.start.elapsed().as_secs())?;
        }
        writer.write_str(&content.message)?;
        for (key, value) in &content.fields {
            write!(writer, " {key}={value}")?;
        }
        writeln!(writer)
    }

    /// The keys that kaniko's JSON has, then those of the event.
    fn json(&self, writer: &mut Writer<'_>, level: Level, content: Content) -> fmt::Result {
        let level = match level {
            Level::TRACE => "trace",
            Level::DEBUG => "debug",
            Level::INFO => "info",
            Level::WARN => "warning",
            Level::ERROR => "error",
        };
        let mut line = Map::new();
        line.insert("level".to_owned(), level.into());
        line.insert("msg".to_owned(), content.message.into());
        line.insert("time".to_owned(), self.time().into());
        for (key, value) in content.fields {
            line.entry(key).or_insert(value);
        }
        writeln!(writer, "{}", Value::Object(line))
    }

    fn time(&self) -> String {
        format!("{:.0}", (self.now)())
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut content = Content::default();
        event.record(&mut content);
        if !event.metadata().target().starts_with(COMMAND_OUTPUT) {
            content.show();
        }
        let level = *event.metadata().level();
        match self.format {
            LogFormat::Text | LogFormat::Color => self.text(&mut writer, level, &content),
            LogFormat::Json => self.json(&mut writer, level, content),
        }
    }
}

/// What an event says.
#[derive(Default)]
struct Content {
    message: String,
    fields: Vec<(String, Value)>,
}

impl Content {
    /// Leaves out what is nobody's business, whoever traced it.
    fn show(&mut self) {
        self.message = for_people(&self.message).into_owned();
        for (_, value) in &mut self.fields {
            if let Value::String(text) = value {
                *text = for_people(text).into_owned();
            }
        }
    }

    fn add(&mut self, field: &Field, value: Value) {
        self.fields.push((field.name().to_owned(), value));
    }
}

impl Visit for Content {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, text.into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value.into());
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(options: &LogOptions, variables: &[&str]) -> String {
        logged_to(options, variables, true)
    }

    fn logged_to(options: &LogOptions, variables: &[&str], terminal: bool) -> String {
        let env = |name: &str| variables.contains(&name).then(|| "1".into());
        let lines = Lines {
            now: || Timestamp::UNIX_EPOCH,
            ..Lines::new(options, &env, terminal)
        };
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::registry()
            .with(
                tracing_subscriber::fmt::layer()
                    .with_writer(move || writer.clone())
                    .event_format(lines),
            )
            .with(filter(options.verbosity));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "kiln_engine", stage = "base", bytes = 5, "unpacking \"x\"");
            tracing::warn!(target: "kiln_registry", "slow");
            tracing::debug!(target: "kiln_engine", "detail");
            tracing::debug!(target: "hyper", "authorization: secret");
            tracing::error!(target: "rustls", "broken");
            // finding 13
            let url = "https://secret@h/?sig=secret";
            tracing::error!(target: "kiln_engine", url, "no {url} (os error 13)");
            // finding 5
            tracing::warn!(target: "kiln_engine", name = "\u{1b}[2J", "left out \u{1b}]0;x\u{7}");
        });
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn forms() {
        let form = |log_format, log_timestamp| LogOptions {
            log_format,
            log_timestamp,
            ..LogOptions::default()
        };
        let all = [
            logged(&form(LogFormat::Text, false), &[]),
            logged(&form(LogFormat::Text, true), &[]),
            logged(&form(LogFormat::Color, false), &[]),
            logged(&form(LogFormat::Color, false), &["NO_COLOR"]),
            logged(&form(LogFormat::Json, false), &[]),
        ];
        insta::assert_snapshot!(all.join("\n").replace('\x1b', "<ESC>"));
    }

    // finding 61
    #[test]
    fn colours_are_for_terminals() {
        let options = LogOptions {
            log_format: LogFormat::Color,
            ..LogOptions::default()
        };
        assert!(logged_to(&options, &[], true).contains('\x1b'));
        // Nor does anything else that reaches it.
        assert!(!logged_to(&options, &[], false).contains(['\x1b', '\x07']));
        assert!(!logged_to(&options, &["NO_COLOR"], true).contains('\x1b'));
    }

    // conformance: I39
    #[test]
    fn levels() {
        let table = [
            (Verbosity::Trace, 6),
            (Verbosity::Debug, 6),
            (Verbosity::Info, 5),
            (Verbosity::Warn, 4),
            (Verbosity::Error, 2),
            (Verbosity::Fatal, 0),
            (Verbosity::Panic, 0),
        ];
        assert!(!table.is_empty());
        for (verbosity, lines) in table {
            let text = logged(
                &LogOptions {
                    verbosity,
                    ..LogOptions::default()
                },
                &[],
            );
            assert_eq!(text.lines().count(), lines, "{verbosity}");
            assert!(!text.contains("secret"), "{verbosity}");
        }
    }
}
