//! The `created_by` texts of history entries, as BuildKit writes them (conformance F19-F24).

use std::fmt::Write as _;
use std::time::Duration;

use kiln_dockerfile::CommandLine;
use kiln_oci::{HealthConfig, History};

/// The comment that marks entries made from a Dockerfile.
pub const COMMENT: &str = "buildkit.dockerfile.v0";

/// `RUN |2 A=v Z=zz /bin/sh -c echo 1 # buildkit` (F19).
pub fn run<'a>(
    args: impl Iterator<Item = (&'a str, &'a str)>,
    shell: &[String],
    command: &CommandLine,
) -> String {
    let args: Vec<String> = args
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut text = String::from("RUN ");
    if !args.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "|{} {} ", args.len(), args.join(" "));
    }
    match command {
        CommandLine::Shell(line) => {
            text.push_str(&shell.join(" "));
            text.push(' ');
            text.push_str(line);
        }
        CommandLine::Exec(words) => text.push_str(&words.join(" ")),
    }
    text.push_str(" # buildkit");
    text
}

/// `COPY --chown=33 --chmod=755 a b /dst # buildkit` (F20).
pub fn copy(
    name: &str,
    parents: bool,
    chown: Option<&str>,
    chmod: Option<&str>,
    sources: &[String],
    destination: &str,
) -> String {
    let mut text = name.to_owned();
    if parents {
        text.push_str(" --parents");
    }
    for (flag, value) in [("chown", chown), ("chmod", chmod)] {
        if let Some(value) = value {
            let _ = write!(text, " --{flag}={value}");
        }
    }
    let _ = write!(text, " {} {destination} # buildkit", sources.join(" "));
    text
}

/// `CMD ["/bin/sh" "-c" "echo \"hi\""]` (F22): Go's `%q` of a list.
pub fn exec_list(name: &str, words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| go_quote(word)).collect();
    format!("{name} [{}]", quoted.join(" "))
}

/// `EXPOSE [53/udp 80/tcp]`, `VOLUME [/v /w]`, `SHELL [/bin/bash -c]` (F21).
pub fn plain_list(name: &str, words: &[String]) -> String {
    format!("{name} [{}]", words.join(" "))
}

/// `ENV A=1 B=`, `LABEL a=1 b c=d e`, `ARG E=v`: pairs without quotes (F21).
pub fn pairs<'a>(name: &str, pairs: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> String {
    let mut text = name.to_owned();
    for (key, value) in pairs {
        text.push(' ');
        text.push_str(key);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

/// `HEALTHCHECK {Test:[CMD true] Interval:1m0s ...}` (F22).
pub fn healthcheck(config: &HealthConfig) -> String {
    let time = |nanos: Option<i64>| {
        let nanos = nanos.unwrap_or_default().try_into().unwrap_or(0);
        kiln_shown::go_duration(Duration::from_nanos(nanos))
    };
    format!(
        "HEALTHCHECK {{Test:[{}] Interval:{} Timeout:{} StartPeriod:{} StartInterval:{} Retries:{}}}",
        config.test.join(" "),
        time(config.interval),
        time(config.timeout),
        time(config.start_period),
        time(config.start_interval),
        config.retries.unwrap_or_default(),
    )
}

/// Go's `%q`: double quotes, with backslash escapes for quotes, backslashes and control characters.
fn go_quote(word: &str) -> String {
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for c in word.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(quoted, "\\x{:02x}", c as u32);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Gives entries that only change the configuration the time of the step beside them (F23): the next one that may
/// make a layer, else the one before. So an image whose steps all come from a cache is the same image again.
pub fn settle_times(own: &mut [History]) {
    let is_step = |entry: &History| {
        let text = entry.created_by.as_deref().unwrap_or_default();
        ["RUN ", "COPY ", "ADD ", "WORKDIR "]
            .iter()
            .any(|name| text.starts_with(name))
    };
    let steps: Vec<(usize, Option<String>)> = own
        .iter()
        .enumerate()
        .filter(|(_, entry)| is_step(entry))
        .map(|(at, entry)| (at, entry.created.clone()))
        .collect();
    let Some((_, last)) = steps.last().cloned() else {
        return;
    };
    let mut next = steps.into_iter().peekable();
    for (at, entry) in own.iter_mut().enumerate() {
        while next.next_if(|(step, _)| *step < at).is_some() {}
        match next.peek() {
            Some((step, _)) if *step == at => {}
            Some((_, time)) => entry.created.clone_from(time),
            None => entry.created.clone_from(&last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|w| (*w).to_owned()).collect()
    }

    // conformance: F19
    #[test]
    fn run_lists_its_args_once_and_the_shell() {
        let shell = words(&["/bin/sh", "-c"]);
        let line = CommandLine::Shell("echo 1".to_owned());
        assert_eq!(
            run([].into_iter(), &shell, &line),
            "RUN /bin/sh -c echo 1 # buildkit"
        );
        assert_eq!(
            run([("A", "v"), ("Z", "zz")].into_iter(), &shell, &line),
            "RUN |2 A=v Z=zz /bin/sh -c echo 1 # buildkit"
        );
        let exec = CommandLine::Exec(words(&["ls", "-l"]));
        assert_eq!(run([].into_iter(), &shell, &exec), "RUN ls -l # buildkit");
    }

    // conformance: F20
    #[test]
    fn copy_shows_owner_and_mode_only() {
        let text = copy(
            "COPY",
            false,
            Some("33"),
            Some("755"),
            &words(&["a", "b"]),
            "/dst",
        );
        assert_eq!(text, "COPY --chown=33 --chmod=755 a b /dst # buildkit");
        let text = copy("COPY", true, None, Some("u=rwX"), &words(&["a"]), "/");
        assert_eq!(text, "COPY --parents --chmod=u=rwX a / # buildkit");
        let text = copy("ADD", false, None, None, &words(&["x.tar"]), "/");
        assert_eq!(text, "ADD x.tar / # buildkit");
    }

    // conformance: F21 F22
    #[test]
    fn lists_and_pairs_are_written_as_buildkit_writes_them() {
        let cmd = words(&["/bin/sh", "-c", "echo \"hi\""]);
        assert_eq!(
            exec_list("CMD", &cmd),
            r#"CMD ["/bin/sh" "-c" "echo \"hi\""]"#
        );
        assert_eq!(
            plain_list("EXPOSE", &words(&["53/udp", "80/tcp"])),
            "EXPOSE [53/udp 80/tcp]"
        );
        let env = [("A", Some("1")), ("B", Some(""))];
        assert_eq!(pairs("ENV", env.into_iter()), "ENV A=1 B=");
        assert_eq!(pairs("ARG", [("E", None)].into_iter()), "ARG E");
    }

    // conformance: F23
    #[test]
    fn metadata_has_the_time_of_the_step_beside_it() {
        let rows = [
            ("ENV a=1", "1", "3"),
            ("ARG b", "2", "3"),
            ("RUN x", "3", "3"),
            ("USER u", "4", "5"),
            ("COPY a b", "5", "5"),
            ("CMD [\"x\"]", "6", "5"),
        ];
        let entry = |text: &str, time: &str| History {
            created: Some(time.to_owned()),
            created_by: Some(text.to_owned()),
            ..History::default()
        };
        let mut history: Vec<History> = rows
            .iter()
            .map(|(text, time, _)| entry(text, time))
            .collect();
        settle_times(&mut history);
        for (entry, (text, _, expected)) in history.iter().zip(rows) {
            assert_eq!(entry.created.as_deref(), Some(expected), "{text}");
        }
        let mut plain = vec![entry("ENV a=1", "1"), entry("CMD x", "2")];
        settle_times(&mut plain);
        assert_eq!(plain, [entry("ENV a=1", "1"), entry("CMD x", "2")]);
    }
}
