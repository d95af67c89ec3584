//! The variables an instruction sees: global ARGs, stage ARGs, ENV and the platform's own
//! (conformance B16-B30).

use std::collections::{BTreeMap, BTreeSet};

use kiln_dockerfile::{ArgDef, ExpandError, Expander, Lookup};
use kiln_oci::Platform;

/// Names that RUN receives without an ARG, in both spellings, and that leave no trace (B26).
const PROXY_NAMES: [&str; 5] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "FTP_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
];

/// The build-args as given, in a form that answers by name.
pub type BuildArgs = BTreeMap<String, String>;

/// What is visible before the first FROM and, name by name, to a bare `ARG name` in a stage.
#[derive(Debug, Clone, Default)]
pub struct GlobalScope {
    values: BTreeMap<String, String>,
}

impl GlobalScope {
    /// Starts with the platform's variables (B27), which build-args may override.
    pub fn new(
        build: &Platform,
        target: &Platform,
        target_stage: &str,
        build_args: &BuildArgs,
    ) -> GlobalScope {
        let mut values = BTreeMap::new();
        for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
            let variant = platform.variant.clone().unwrap_or_default();
            let os_version = platform.os_version.clone().unwrap_or_default();
            values.insert(format!("{prefix}PLATFORM"), platform.to_string());
            values.insert(format!("{prefix}OS"), platform.os.clone());
            values.insert(format!("{prefix}ARCH"), platform.architecture.clone());
            values.insert(format!("{prefix}VARIANT"), variant);
            values.insert(format!("{prefix}OSVERSION"), os_version);
        }
        values.insert("TARGETSTAGE".to_owned(), target_stage.to_owned());
        for (name, value) in &mut values {
            if let Some(given) = build_args.get(name) {
                value.clone_from(given);
            }
        }
        GlobalScope { values }
    }

    /// Gives a variable that has a value another.
    pub fn replace(&mut self, name: &str, value: String) {
        if let Some(old) = self.values.get_mut(name) {
            *old = value;
        }
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        let pairs = self.values.iter();
        pairs.map(|(name, value)| name.len() + value.len()).sum()
    }

    /// Every name with its value.
    pub fn into_values(self) -> BTreeMap<String, String> {
        self.values
    }

    /// Applies one ARG line that stands before the first FROM (B17, B18).
    pub fn declare(
        &mut self,
        args: &[ArgDef],
        build_args: &BuildArgs,
        expander: Expander,
    ) -> Result<(), ExpandError> {
        for arg in args {
            let name = expander.word(&arg.name, self)?.text;
            if let Some(given) = build_args.get(&name) {
                self.values.insert(name, given.clone());
            } else if let Some(default) = &arg.default {
                let value = expander.word(default, self)?.text;
                self.values.insert(name, value);
            }
        }
        Ok(())
    }
}

impl Lookup for GlobalScope {
    fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }
}

/// The variables of one stage as they stand between two instructions.
#[derive(Debug, Clone, Default)]
pub struct StageScope {
    /// ARG names in the order they were first declared.
    args: Vec<String>,
    /// ARG and ENV together; among both kinds the later line wins (B22).
    effective: BTreeMap<String, String>,
    /// Bytes of `effective`.
    size: usize,
}

impl StageScope {
    /// A scope over the environment that a base image brings.
    pub fn over_env(env: &[String]) -> StageScope {
        let mut scope = StageScope::default();
        for pair in env {
            // An entry without `=` sets nothing (C19).
            if let Some((name, value)) = pair.split_once('=') {
                scope.set_env(name, value);
            }
        }
        scope
    }

    /// The scope of a stage that starts from one with this scope: its ARGs too (B20). They say nothing of what the
    /// image itself sets, though: the child sees that as it stands in the configuration.
    #[must_use]
    pub fn inherited(&self, env: &[String]) -> StageScope {
        let mut scope = self.clone();
        for pair in env {
            if let Some((name, value)) = pair.split_once('=') {
                scope.set_env(name, value);
            }
        }
        scope
    }

    /// Records an ENV line's pair.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.size += name.len() + value.len();
        if let Some(old) = self.effective.insert(name.to_owned(), value.to_owned()) {
            self.size -= name.len() + old.len();
        }
    }

    /// Bytes of all names and values.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Applies one ARG line of the stage and returns its names with their values, as history shows
    /// them (B17-B24).
    pub fn declare(
        &mut self,
        args: &[ArgDef],
        build_args: &BuildArgs,
        global: &GlobalScope,
        expander: Expander,
    ) -> Result<Vec<(String, Option<String>)>, ExpandError> {
        let mut shown = Vec::with_capacity(args.len());
        for arg in args {
            let name = expander.word(&arg.name, self)?.text;
            let value = match (build_args.get(&name), &arg.default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(expander.word(default, self)?.text),
                (None, None) => global.get(&name).map(str::to_owned),
            };
            if let Some(value) = &value {
                self.set_env(&name, value);
            }
            if !self.args.contains(&name) {
                self.args.push(name.clone());
            }
            shown.push((name, value));
        }
        Ok(shown)
    }

    /// ARGs in scope that have a value, with the one that a command sees; proxies are left out unless an ARG declares
    /// them (B26).
    pub fn args_in_effect(&self) -> impl Iterator<Item = (&str, &str)> {
        self.args
            .iter()
            .filter_map(|name| Some((name.as_str(), self.get(name)?)))
    }

    /// All ARGs in scope, as history lists them (F19): with the value that a command sees, nothing where there is none.
    pub fn args_listed(&self) -> impl Iterator<Item = (&str, &str)> {
        self.args
            .iter()
            .map(|name| (name.as_str(), self.get(name).unwrap_or_default()))
    }

    /// The environment of a RUN: the image's, then ARGs, each name once, the later line winning
    /// (D2, B22), then proxies in both spellings (B26).
    pub fn run_env(&self, config_env: &[String], build_args: &BuildArgs) -> Vec<(String, String)> {
        let mut env: Vec<(String, String)> = Vec::new();
        let mut known: BTreeSet<&str> = BTreeSet::new();
        let names = config_env
            .iter()
            .filter_map(|pair| pair.split_once('=').map(|(name, _)| name))
            .chain(self.args.iter().map(String::as_str));
        for name in names {
            if let Some(value) = self.effective.get(name)
                && known.insert(name)
            {
                env.push((name.to_owned(), value.clone()));
            }
        }
        for upper in PROXY_NAMES {
            let lower = upper.to_ascii_lowercase();
            let Some(value) = build_args.get(upper).or_else(|| build_args.get(&lower)) else {
                continue;
            };
            for name in [upper.to_owned(), lower] {
                if !env.iter().any(|(known, _)| *known == name) {
                    env.push((name, value.clone()));
                }
            }
        }
        env
    }
}

impl Lookup for StageScope {
    fn get(&self, name: &str) -> Option<&str> {
        self.effective.get(name).map(String::as_str)
    }
}

/// Build-args that no ARG of the file names: they have no effect and deserve a warning (B29).
pub fn unused_build_args<'a>(
    build_args: &'a BuildArgs,
    declared: &BTreeSet<String>,
) -> Vec<&'a str> {
    build_args
        .keys()
        .map(String::as_str)
        .filter(|name| {
            !declared.contains(*name)
                && !PROXY_NAMES.contains(&name.to_ascii_uppercase().as_str())
                && *name != "SOURCE_DATE_EPOCH"
                && !name.starts_with("BUILDKIT_")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(name: &str, default: Option<&str>) -> ArgDef {
        ArgDef {
            name: name.to_owned(),
            default: default.map(str::to_owned),
        }
    }

    fn args(pairs: &[(&str, &str)]) -> BuildArgs {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    fn platforms() -> (Platform, Platform) {
        (
            Platform::parse("linux/amd64").unwrap(),
            Platform::parse("linux/arm64").unwrap(),
        )
    }

    // conformance: B17 B18 B19
    #[test]
    fn a_global_arg_reaches_a_stage_only_by_its_name() {
        let (build, target) = platforms();
        let given = args(&[("B", "given")]);
        let expander = Expander::new('\\');
        let mut global = GlobalScope::new(&build, &target, "default", &given);
        global
            .declare(
                &[arg("A", Some("1")), arg("B", Some("${nope:?}"))],
                &given,
                expander,
            )
            .unwrap();
        let mut stage = StageScope::default();
        assert_eq!((stage.get("A"), stage.get("B")), (None, None));
        stage
            .declare(&[arg("A", None), arg("B", None)], &given, &global, expander)
            .unwrap();
        assert_eq!(stage.get("A"), Some("1"));
        assert_eq!(stage.get("B"), Some("given"));
        // A default that is not taken is not looked at in a stage either.
        stage
            .declare(&[arg("B", Some("${nope:?}"))], &given, &global, expander)
            .unwrap();
        assert_eq!(stage.get("B"), Some("given"));
    }

    // conformance: B27
    #[test]
    fn platform_args_are_global_and_can_be_overridden() {
        let (build, target) = platforms();
        let target = Platform {
            variant: Some("v9".to_owned()),
            os_version: Some("7".to_owned()),
            ..target
        };
        let rows = [
            ("BUILDPLATFORM", "linux/amd64"),
            ("BUILDOS", "linux"),
            ("BUILDARCH", "amd64"),
            ("BUILDVARIANT", ""),
            ("BUILDOSVERSION", ""),
            ("TARGETPLATFORM", "linux(7)/arm64/v9"),
            ("TARGETOS", "linux"),
            ("TARGETARCH", "arm64"),
            ("TARGETVARIANT", "v9"),
            ("TARGETOSVERSION", "7"),
            ("TARGETSTAGE", "here"),
        ];
        for (name, expected) in rows {
            let scope = |given: &[(&str, &str)]| {
                let given = args(given);
                let global = GlobalScope::new(&build, &target, "here", &given);
                let mut stage = StageScope::default();
                assert_eq!(stage.get(name), None, "{name} without an ARG");
                stage
                    .declare(&[arg(name, None)], &given, &global, Expander::new('\\'))
                    .unwrap();
                assert_eq!(stage.get(name), global.get(name), "{name}");
                global.get(name).map(str::to_owned)
            };
            assert_eq!(scope(&[]).as_deref(), Some(expected), "{name}");
            assert_eq!(scope(&[(name, "plan9")]).as_deref(), Some("plan9"));
        }
    }

    // conformance: B21 B22 B23 B24 D2
    #[test]
    fn the_later_of_arg_and_env_wins_for_run() {
        let given = args(&[("A", "9")]);
        let expander = Expander::new('\\');
        let global = GlobalScope::default();
        let config_env = vec!["A=2".to_owned()];
        let mut stage = StageScope::over_env(&config_env);
        stage
            .declare(
                &[arg("A", None), arg("NONE", None), arg("EMPTY", Some(""))],
                &given,
                &global,
                expander,
            )
            .unwrap();
        stage
            .declare(
                &[arg("N", Some("x")), arg("N", Some("${N}-dev"))],
                &given,
                &global,
                expander,
            )
            .unwrap();
        assert_eq!(stage.get("A"), Some("9"));
        let env = stage.run_env(&config_env, &given);
        let expected = [("A", "9"), ("EMPTY", ""), ("N", "x-dev")];
        assert_eq!(env, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        stage.set_env("A", "3");
        assert_eq!(stage.get("A"), Some("3"));
        let env = stage.run_env(&["A=3".to_owned()], &given);
        assert_eq!(env[0].1, "3");
    }

    // finding 24
    // conformance: B20
    #[test]
    fn a_child_stage_sees_the_env_that_an_arg_hid() {
        let expander = Expander::new('\\');
        let mut parent = StageScope::over_env(&["V=env".to_owned()]);
        let args = [
            arg("V", Some("arg")),
            arg("ONLY", Some("x")),
            arg("NONE", None),
        ];
        let global = GlobalScope::default();
        parent
            .declare(&args, &BuildArgs::new(), &global, expander)
            .unwrap();
        assert_eq!(parent.get("V"), Some("arg"));
        let child = parent.inherited(&["V=env".to_owned()]);
        assert_eq!(child.get("V"), Some("env"));
        assert_eq!(child.get("ONLY"), Some("x"));
        let listed: Vec<_> = child.args_listed().collect();
        assert_eq!(listed, [("V", "env"), ("ONLY", "x"), ("NONE", "")]);
        assert_eq!(child.args_in_effect().count(), 2);
    }

    // conformance: B26 D2
    #[test]
    fn proxies_reach_run_in_both_spellings_and_no_history() {
        for upper in [
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "FTP_PROXY",
            "NO_PROXY",
            "ALL_PROXY",
        ] {
            let lower = upper.to_ascii_lowercase();
            for name in [upper, lower.as_str()] {
                let given = args(&[(name, "http://p:1")]);
                let mut stage = StageScope::default();
                let both = [upper, lower.as_str()];
                let both = both.map(|name| (name.to_owned(), "http://p:1".to_owned()));
                assert_eq!(stage.run_env(&[], &given), both, "{name}");
                assert_eq!(stage.args_in_effect().count(), 0, "{name}");
                // Then it is an ARG like others.
                let global = GlobalScope::default();
                stage
                    .declare(&[arg(name, None)], &given, &global, Expander::new('\\'))
                    .unwrap();
                let declared: Vec<_> = stage.args_in_effect().collect();
                assert_eq!(declared, [(name, "http://p:1")]);
            }
        }
        let others = args(&[("SOCKS_PROXY", "p"), ("PROXY", "p")]);
        assert!(StageScope::default().run_env(&[], &others).is_empty());
    }

    // conformance: B29
    #[test]
    fn a_build_arg_nobody_declares_is_named() {
        let given = args(&[("X", "1"), ("https_proxy", "p"), ("Y", "2")]);
        let declared = ["Y".to_owned()].into();
        assert_eq!(unused_build_args(&given, &declared), ["X"]);
    }
}
