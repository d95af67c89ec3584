//! How much is logged, and in which form.

use crate::value::{ValueError, choice};

/// Options for what a binary writes to stderr.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(
    feature = "clap",
    derive(clap::Args),
    command(next_help_heading = "Logging")
)]
pub struct LogOptions {
    /// Least severe messages to show: trace, debug, info, warn, error, fatal or panic.
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "LEVEL", global = true,
        value_parser = Verbosity::parse, default_value_t))]
    pub verbosity: Verbosity,
    /// Form of the log: text, color or json.
    #[cfg_attr(feature = "clap", arg(long, value_name = "FORMAT", global = true,
        value_parser = str::parse::<LogFormat>, default_value_t))]
    pub log_format: LogFormat,
    /// Write the date and time before each message instead of the seconds since the start.
    #[cfg_attr(feature = "clap", arg(long, global = true))]
    pub log_timestamp: bool,
}

choice! {
    /// The names that kaniko gives its log levels.
    #[derive(PartialOrd, Ord, Default)]
    pub enum Verbosity {
        /// Everything.
        Trace = "trace",
        /// What helps to find a fault.
        Debug = "debug",
        /// Every event that matters.
        #[default]
        Info = "info",
        /// What should be looked at.
        Warn = "warn",
        /// What went wrong.
        Error = "error",
        /// Only the error that ends the run.
        Fatal = "fatal",
        /// The same as `fatal`.
        Panic = "panic",
    }
}

impl Verbosity {
    /// Reads a level in any case; `warning` is `warn`, as in kaniko.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        match text.to_lowercase().as_str() {
            "warning" => Ok(Self::Warn),
            lower => lower.parse(),
        }
    }
}

choice! {
    /// The form of a log line.
    #[derive(Default)]
    pub enum LogFormat {
        /// Plain lines.
        Text = "text",
        /// Lines with coloured levels.
        #[default]
        Color = "color",
        /// One JSON object a line.
        Json = "json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let table = [
            ("info", Verbosity::Info),
            ("WARN", Verbosity::Warn),
            ("Warning", Verbosity::Warn),
            ("panic", Verbosity::Panic),
        ];
        for (text, expected) in table {
            assert_eq!(Verbosity::parse(text), Ok(expected), "{text}");
        }
        let error = Verbosity::parse("debgu").unwrap_err();
        assert_eq!(error.nearest.as_deref(), Some("debug"));
    }
}
