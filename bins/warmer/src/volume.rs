//! What is in the volume and what was taken out of it, for people and for programs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use kiln_engine::{
    ImageUse, ListFormat, PruneReason, PruneSettings, Pruned, Survey, list_volume, prune_volume,
    with_causes,
};
use kiln_options::{ListOptions, LogFormat, PruneOptions, Stop, byte_size, report_failure};
use serde_json::{Value, json};

/// `warmer list`.
pub(crate) fn list(options: &ListOptions, format: LogFormat) -> ExitCode {
    let settings = match options.resolve() {
        Ok(settings) => settings,
        Err(error) => return Stop::Wrong(error).report(format),
    };
    match list_volume(&settings) {
        Ok(survey) => print(&match settings.format {
            ListFormat::Table => table(&survey, SystemTime::now()),
            ListFormat::Json => format!("{:#}\n", document(&survey)),
        }),
        Err(error) => report_failure(format, &error, None, None, 1),
    }
}

/// `warmer prune`.
pub(crate) fn prune(options: &PruneOptions, format: LogFormat) -> ExitCode {
    let settings = match options.resolve() {
        Ok(settings) => settings,
        Err(error) => return Stop::Wrong(error).report(format),
    };
    match prune_volume(&settings, Arc::new(crate::log)) {
        Ok(pruned) => {
            if let Some(warning) = too_large(&settings, &pruned) {
                tracing::warn!("{warning}");
            }
            print(&summary(&settings, &pruned, SystemTime::now()))
        }
        Err(error) => report_failure(format, &error, None, None, 1),
    }
}

fn print(text: &str) -> ExitCode {
    // Nobody is left to tell when stdout is closed.
    let _ = write!(std::io::stdout(), "{text}");
    ExitCode::SUCCESS
}

const HEAD: [&str; 6] = ["IMAGE", "DIGEST", "PLATFORM", "SIZE", "SHARED", "LAST USED"];

fn table(survey: &Survey, now: SystemTime) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(survey.images.iter().map(|image| row(image, now)));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    for image in &survey.images {
        if let Some(problem) = &image.problem {
            let _ = writeln!(text, "{} is broken: {}", image.digest, with_causes(problem));
        }
    }
    let _ = writeln!(
        text,
        "{}, {}, {} on disk",
        count(survey.images.len() as u64, "image"),
        count(survey.steps as u64, "cached step"),
        byte_size(survey.size)
    );
    text
}

fn row(image: &ImageUse, now: SystemTime) -> [String; HEAD.len()] {
    let unknown = || "-".to_owned();
    [
        image.reference.clone().unwrap_or_else(unknown),
        // Enough to tell images apart; JSON has all of it.
        image.digest.to_string().chars().take(19).collect(),
        image
            .platform
            .as_ref()
            .map_or_else(unknown, ToString::to_string),
        byte_size(image.size),
        byte_size(image.shared),
        ago(image.last_used, now),
    ]
}

fn document(survey: &Survey) -> Value {
    let images: Vec<Value> = survey.images.iter().map(object).collect();
    json!({ "images": images, "steps": survey.steps, "size": survey.size })
}

fn object(image: &ImageUse) -> Value {
    json!({
        "image": image.reference,
        "digest": image.digest.to_string(),
        "platform": image.platform.as_ref().map(ToString::to_string),
        "size": image.size,
        "sharedSize": image.shared,
        "stored": timestamp(image.stored_at),
        "lastUsed": timestamp(image.last_used),
        "origin": image.origin.map(|origin| format!("{origin:?}")),
        "problem": image.problem.as_ref().map(|problem| with_causes(problem)),
    })
}

fn summary(settings: &PruneSettings, pruned: &Pruned, now: SystemTime) -> String {
    let (removed, freed) = if settings.dry_run {
        ("would remove", "would be freed")
    } else {
        ("removed", "freed")
    };
    let mut text = String::new();
    for entry in &pruned.entries {
        let why = match entry.reason {
            PruneReason::Broken => "it cannot be used".to_owned(),
            PruneReason::Age | PruneReason::Size => {
                format!("last used {}", ago(entry.last_used, now))
            }
        };
        let reference = entry.reference.iter().map(|name| format!(" {name}"));
        let reference: String = reference.collect();
        let _ = writeln!(text, "{removed} {}{reference}: {why}", entry.name);
    }
    let _ = writeln!(
        text,
        "{removed} {}, {}, {}; {} {freed}, {} left",
        count(pruned.entries.len() as u64, "entry"),
        count(pruned.blobs, "blob"),
        count(pruned.leftovers, "useless file"),
        byte_size(pruned.freed),
        byte_size(pruned.kept)
    );
    text
}

fn too_large(settings: &PruneSettings, pruned: &Pruned) -> Option<String> {
    let wanted = settings.max_size.filter(|wanted| pruned.kept > *wanted)?;
    Some(format!(
        "{} are left, more than {}: the rest is younger than `--grace`, in use, or somebody else's",
        byte_size(pruned.kept),
        byte_size(wanted)
    ))
}

fn count(number: u64, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {what}s"),
    }
}

/// `5 minutes ago`, in the largest unit that gives more than one.
fn ago(time: SystemTime, now: SystemTime) -> String {
    let seconds = now.duration_since(time).unwrap_or_default().as_secs();
    let units = [("day", 86_400), ("hour", 3600), ("minute", 60)];
    let found = units.iter().find(|(_, length)| seconds >= 2 * length);
    match found {
        Some((unit, length)) => format!("{} {unit}s ago", seconds / length),
        None if seconds >= 60 => "1 minute ago".to_owned(),
        None => "just now".to_owned(),
    }
}

fn timestamp(time: SystemTime) -> Option<String> {
    let time = jiff::Timestamp::try_from(time).ok()?;
    Some(format!("{time:.0}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kiln_engine::PrunedEntry;
    use kiln_oci::{Digest, Platform};

    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
    }

    fn survey() -> Survey {
        let image = |name: Option<&str>, size, hours| ImageUse {
            digest: Digest::of(format!("{name:?}").as_bytes()),
            reference: name.map(str::to_owned),
            platform: Platform::parse("linux/arm/v7").ok(),
            size,
            shared: size / 2,
            stored_at: SystemTime::UNIX_EPOCH,
            last_used: now() - Duration::from_hours(hours),
            origin: None,
            problem: None,
        };
        let mut broken = image(None, 0, 300);
        broken.platform = None;
        broken.problem = Some(kiln_engine::Miss::Misplaced {
            path: "/cache/x".into(),
        });
        Survey {
            images: vec![
                image(Some("docker.io/library/debian:12"), 48_500_000, 0),
                image(Some("ghcr.io/team/app:1"), 1234, 30),
                broken,
            ],
            steps: 1,
            size: 51_000_000,
        }
    }

    #[test]
    fn a_list_for_people() {
        insta::assert_snapshot!(table(&survey(), now()));
    }

    #[test]
    fn a_list_for_programs() {
        insta::assert_snapshot!(format!("{:#}", document(&survey())));
    }

    #[test]
    fn what_a_prune_says() {
        let entry = |name: &str, reason| PrunedEntry {
            name: name.to_owned(),
            reference: (reason == PruneReason::Size).then(|| "debian:12".to_owned()),
            last_used: now() - Duration::from_hours(400),
            reason,
        };
        let pruned = Pruned {
            entries: vec![
                entry("image sha256:1", PruneReason::Size),
                entry("step 2", PruneReason::Age),
                entry("image sha256:3", PruneReason::Broken),
            ],
            blobs: 1,
            freed: 1_500_000,
            leftovers: 0,
            kept: 20_000,
        };
        let mut text = String::new();
        for dry_run in [false, true] {
            let settings = PruneSettings {
                dir: "/cache".into(),
                max_size: Some(10_000),
                max_age: None,
                grace: Duration::ZERO,
                dry_run,
            };
            text += &summary(&settings, &pruned, now());
            text += &too_large(&settings, &pruned).unwrap();
            text += "\n";
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn times() {
        let rows = [
            (0, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (125, "2 minutes ago"),
            (7199, "119 minutes ago"),
            (7200, "2 hours ago"),
            (200_000, "2 days ago"),
        ];
        for (seconds, expected) in rows {
            let time = now() - Duration::from_secs(seconds);
            assert_eq!(ago(time, now()), expected);
        }
        assert_eq!(ago(now() + Duration::from_secs(9), now()), "just now");
    }
}
