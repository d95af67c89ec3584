//! `--dryrun`: what a build would do.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use kiln_e2e::{Base, Build, Case, Context, kiln_only};
use serde_json::{Value, json};

fn context(case: &Case) -> Context {
    let base = case.base(Base::Busybox);
    case.context().file("f", "f").dockerfile(format!(
        "FROM {base} AS tools\nCOPY f /f\nRUN date +%N > /made\n\
         FROM {base} AS unused\nRUN false\n\
         FROM {base} AS middle\nCOPY --from=tools /made /made\n\
         FROM middle\nENV A=1\nRUN --mount=from=tools,target=/t cat /t/made > /seen\nONBUILD RUN false\n"
    ))
}

fn plan(build: &Build<'_>) -> Value {
    let ran = build.dry_run("json");
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn stages(plan: &Value) -> Vec<(String, String)> {
    let stages = plan["stages"].as_array().unwrap().iter();
    let line = |stage: &Value| {
        let skipped = stage["skipped"].as_str().unwrap_or("built").to_owned();
        (stage["name"].as_str().unwrap().to_owned(), skipped)
    };
    stages.map(line).collect()
}

fn actions(plan: &Value, stage: usize) -> Vec<&str> {
    let steps = plan["stages"][stage]["steps"].as_array().unwrap().iter();
    steps.map(|step| step["action"].as_str().unwrap()).collect()
}

// conformance: K13
#[test]
fn it_says_what_would_happen_and_does_nothing() {
    kiln_only!();
    let case = Case::new();
    let context = context(&case);
    let build = case.build(&context);
    let plan = plan(&build);
    let built = |name: &str| (name.to_owned(), "built".to_owned());
    assert_eq!(
        stages(&plan),
        [
            built("tools"),
            ("unused".to_owned(), "nothing needs it".to_owned()),
            built("middle"),
            built("stage-3"),
        ]
    );
    assert_eq!(plan["stages"][3]["target"], json!(true));
    assert_eq!(plan["stages"][3]["base"], json!("middle"));
    assert_eq!(plan["stages"][3]["waits_for"], json!(["tools", "middle"]));
    assert_eq!(plan["stages"][2]["waits_for"], json!(["tools"]));
    assert_eq!(plan["stages"][2]["steps"][0]["reads"], json!(["tools"]));
    assert_eq!(actions(&plan, 0), ["copy", "run"]);
    assert_eq!(actions(&plan, 3), ["configure", "run", "configure"]);
    assert_eq!(plan["images"].as_array().unwrap().len(), 1);
    assert_eq!(
        plan["destinations"],
        json!([case.destination("image") + ":latest"])
    );

    let text = build.dry_run("text").stdout;
    for part in [
        "stage unused: from ",
        "skipped: nothing needs it",
        "stage stage-3: from middle; the target; waits for tools, middle",
        "   2 run       RUN --mount=from=tools",
        "reads tools",
        "then push to ",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let pushed = case.registry().raw_manifest(&case.destination("image"));
    assert!(pushed.is_none(), "nothing is pushed");
}

// conformance: K13
#[test]
fn it_says_what_is_cached() {
    kiln_only!();
    let case = Case::new();
    let context = context(&case);
    let build = case.build(&context).cached_in(case.destination("cache"));
    let before = plan(&build);
    assert_eq!(actions(&before, 0), ["copy", "run"]);
    build.run().ok();
    let after = plan(&build);
    assert_eq!(actions(&after, 2), ["cached"]);
    assert_eq!(actions(&after, 3), ["configure", "cached", "configure"]);
    assert_eq!(stages(&after)[0].1, "what reads it is cached");
    let place = after["stages"][3]["steps"][1]["cached_in"]
        .as_str()
        .unwrap();
    assert!(place.contains("/cache"), "{place}");
    let _context = context.file("f", "changed");
    let changed = plan(&build);
    assert_eq!(actions(&changed, 0), ["copy", "run"]);
    let why = changed["stages"][0]["steps"][0]["not_cached"]
        .as_str()
        .unwrap();
    assert!(why.contains("1 of 1 files changed: f"), "{why}");
}

// conformance: K13
#[test]
fn a_build_can_print_its_plan_first() {
    kiln_only!();
    let case = Case::new();
    let base = case.base(Base::Busybox);
    let context = case
        .context()
        .file("f", "f")
        .dockerfile(format!("FROM {base}\nCOPY f /f\n"));
    let outcome = case.build(&context).env("KANIKO_PRINT_PLAN", "true").run();
    assert!(
        outcome.log.contains("stage stage-0: from "),
        "{}",
        outcome.log
    );
    assert_eq!(outcome.image().tree().text("f"), "f");
}
