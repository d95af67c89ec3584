//! `STOPSIGNAL` values (F13).

/// Linux signal names without `SIG`; the real-time ones are counted from `RTMIN` and `RTMAX`.
const NAMES: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];
/// `RTMIN+15` and `RTMAX-14` meet in the middle of the 31 real-time signals.
const ABOVE_MIN: u8 = 15;
const BELOW_MAX: u8 = 14;

/// Text that names no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid signal: {text}{}", crate::suggest::did_you_mean(suggestion.as_deref()))]
pub struct SignalError {
    /// The text given.
    pub text: String,
    /// A name that looks like it.
    pub suggestion: Option<String>,
}

/// Checks that `text` is a signal's name, with or without `SIG` and in any case, or its number; the
/// image keeps it as written.
pub fn validate_signal(text: &str) -> Result<(), SignalError> {
    if is_signal(text) {
        return Ok(());
    }
    let upper = text.to_uppercase();
    let suggestion = match upper.strip_prefix("SIG") {
        Some(name) => {
            crate::suggest::closest(name, NAMES.iter().copied()).map(|n| format!("SIG{n}"))
        }
        None => crate::suggest::closest(&upper, NAMES.iter().copied()).map(str::to_owned),
    };
    Err(SignalError {
        text: text.to_owned(),
        suggestion,
    })
}

fn is_signal(text: &str) -> bool {
    if let Ok(number) = text.parse::<i32>() {
        return number > 0;
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let counted = |text: &str, most: u8| {
        text.parse().is_ok_and(|n: u8| (1..=most).contains(&n)) && !text.starts_with(['+', '0'])
    };
    if let Some(count) = name.strip_prefix("RTMIN+") {
        return counted(count, ABOVE_MIN);
    }
    if let Some(count) = name.strip_prefix("RTMAX-") {
        return counted(count, BELOW_MAX);
    }
    NAMES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: F13
    #[test]
    fn signals() {
        let rows = [
            ("SIGTERM", Ok(())),
            ("term", Ok(())),
            ("SIGRTMIN+3", Ok(())),
            ("RTMAX-14", Ok(())),
            ("9", Ok(())),
            ("FOO", Err("invalid signal: FOO")),
            (
                "SIGTREM",
                Err("invalid signal: SIGTREM (did you mean SIGTERM?)"),
            ),
            ("0", Err("invalid signal: 0")),
            ("-9", Err("invalid signal: -9")),
            ("RTMIN+16", Err("invalid signal: RTMIN+16")),
            (
                "RTMIN+",
                Err("invalid signal: RTMIN+ (did you mean RTMIN?)"),
            ),
            ("", Err("invalid signal: ")),
        ];
        for (text, expected) in rows {
            let got = validate_signal(text).map_err(|e| e.to_string());
            assert_eq!(got, expected.map_err(str::to_owned), "{text}");
        }
    }
}
