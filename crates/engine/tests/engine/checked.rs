use std::sync::Arc;

use kiln_engine::{BuildSettings, CheckReport, DockerfileSource, Silent, check, with_causes};
use serde_json::{Value, json};

struct Case {
    temp: tempfile::TempDir,
    settings: BuildSettings,
}

impl Case {
    fn new(dockerfile: &str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("Docker file");
        std::fs::write(&path, dockerfile).unwrap();
        let settings = BuildSettings {
            context_dir: temp.path().to_owned(),
            dockerfile: DockerfileSource::Path(path),
            ..BuildSettings::default()
        };
        Self { temp, settings }
    }

    async fn report(&self) -> CheckReport {
        check(&self.settings, Arc::new(Silent)).await.unwrap()
    }

    /// The text with the folder's name left out.
    async fn text(&self) -> String {
        let folder = format!("{}/", self.temp.path().display());
        self.report().await.text().replace(&folder, "")
    }
}

const TWO_STAGES: &str = "FROM a AS Base\nCOPY f /\nFROM Base\nLABEL x=$TARGETARCH\n";

#[tokio::test]
async fn findings_are_shown_with_their_lines() {
    let case = Case::new(TWO_STAGES);
    std::fs::write(case.temp.path().join("Docker file.dockerignore"), "f\n").unwrap();
    let text = case.text().await;
    let expected = "\
Docker file:1:1: warning: StageNameCasing: Stage name 'Base' should be lowercase
   1 | >>> FROM a AS Base
   2 |     COPY f /
   3 |     FROM Base
";
    assert!(text.starts_with(expected), "{text}");
    for part in [
        "\nDocker file:2:1: warning: CopyIgnoredFile: Attempting to Copy file \"f\"",
        "\nDocker file:4:1: warning: UndefinedVar: Usage of undefined variable '$TARGETARCH'",
        "https://docs.docker.com/go/dockerfile/rule/undefined-var/\n",
        "\nDocker file: 3 warnings\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(
        Case::new("FROM scratch\n").text().await,
        "Docker file: no warnings\n"
    );
    assert_eq!(
        Case::new("FROM a\n").text().await,
        "Docker file: not checked: whether images exist and what they set (a:latest); --check-bases looks at them\n\
         Docker file: no warnings\n"
    );
}

// conformance: C8 C9
#[tokio::test]
async fn a_target_leaves_other_stages_out() {
    let mut case = Case::new("FROM a AS x\nWORKDIR d\nSTOPSIGNAL FOO\nFROM b AS y\nWORKDIR e\n");
    let rules = |report: &CheckReport| -> Vec<u32> {
        let lines = report.warnings.iter().map(|w| w.span.line());
        let problems = report.problems.iter().filter_map(|p| Some(p.span?.line()));
        problems.chain(lines).collect()
    };
    assert_eq!(rules(&case.report().await), [3, 2, 5]);
    case.settings.targets = vec!["y".to_owned()];
    assert_eq!(rules(&case.report().await), [5]);
    case.settings.targets = vec!["z".to_owned()];
    let text = case.text().await;
    assert!(
        text.contains("error: target stage \"z\" could not be found"),
        "{text}"
    );
    assert!(
        text.contains("hint: the stages with a name are `x`, `y`"),
        "{text}"
    );
}

// conformance: A15 C5
#[tokio::test]
async fn problems_of_all_kinds_are_listed() {
    let parsing = Case::new("FROM a\nRNU x\nCOPY --form=x a b\n").text().await;
    assert!(
        parsing.contains("Docker file:2:1: error: unknown instruction: RNU (did you mean RUN?)")
    );
    assert!(parsing.contains("Docker file:3:6: error: unknown flag: --form (did you mean from?)"));
    assert!(parsing.ends_with("Docker file: 2 errors\n"), "{parsing}");

    let planning = Case::new(
        "FROM --platform=$X a\nCOPY --from=7 a b\nFROM $Y\nRUN --mount=from=A,target=/x y\n",
    );
    let text = planning.text().await;
    for part in [
        "Docker file:1:1: error: empty platform value from expression `$X`",
        "Docker file:2:6: error: invalid stage index 7",
        "Docker file:3:1: error: base name (`$Y`) should not be blank",
        "Docker file:4:1: error: failed to parse stage name \"A\"",
        "\nDocker file: 4 errors, ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("invalid stage index").count(), 1);

    let ignore = Case::new("FROM a\n");
    std::fs::write(ignore.temp.path().join(".dockerignore"), "ok\na[\n").unwrap();
    let text = ignore.text().await;
    assert!(
        text.contains("error: ") && text.contains("syntax error in pattern"),
        "{text}"
    );
}

// conformance: A6
#[tokio::test]
async fn a_build_arg_chooses_rules() {
    let mut case = Case::new("# check=skip=all\nFROM a AS Base\n");
    assert!(case.report().await.is_clean());
    let given = |value: &str| vec![("BUILDKIT_DOCKERFILE_CHECK".to_owned(), value.to_owned())];
    case.settings.build_args = given("error=true");
    assert_eq!(case.report().await.warnings.len(), 1);
    case.settings.build_args = given("nothing");
    let error = check(&case.settings, Arc::new(Silent)).await.unwrap_err();
    assert!(with_causes(&error).contains("invalid check option `nothing`"));
}

#[tokio::test]
async fn json_has_the_form_of_buildkit() {
    let report = Case::new(TWO_STAGES).report().await;
    let json: Value = serde_json::from_str(&report.json()).unwrap();
    let first = &json["warnings"][0];
    assert_eq!(first["ruleName"], "StageNameCasing");
    assert_eq!(first["detail"], "Stage name 'Base' should be lowercase");
    let range =
        json!({ "start": { "line": 1, "character": 0 }, "end": { "line": 1, "character": 14 } });
    assert_eq!(first["location"]["ranges"], json!([range]));
    assert_eq!(json["errors"], json!([]));
    assert_eq!(json.get("buildError"), None);
    let broken = Case::new("FROM a\nRNU x\nRNU y\n").report().await.json();
    let json: Value = serde_json::from_str(&broken).unwrap();
    assert_eq!(json["errors"].as_array().unwrap().len(), 2);
    assert_eq!(json["buildError"], json["errors"][0]);
    assert_eq!(
        json["errors"][1]["location"]["ranges"][0]["start"]["line"],
        3
    );
}

#[tokio::test]
async fn sarif_names_rules_and_places() {
    let report = Case::new("FROM a AS B\nCOPY --chmod=999 a b\n")
        .report()
        .await;
    let sarif: Value = serde_json::from_str(&report.sarif()).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 2);
    for result in results {
        let index = result["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(
            uri.starts_with("file:///") && uri.ends_with("/Docker%20file"),
            "{uri}"
        );
    }
    assert_eq!(results[0]["level"], "error");
    let region = json!({ "startLine": 2, "startColumn": 6, "endLine": 2, "endColumn": 17 });
    assert_eq!(
        results[0]["locations"][0]["physicalLocation"]["region"],
        region
    );
    assert_eq!(results[1]["ruleId"], "StageNameCasing");
}
