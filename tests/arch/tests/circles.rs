//! No modules of one folder use each other in a circle: each can be read, tested and moved after those it uses.
//!
//! A module and those below it are no circle: they are one thing in several files. What `lib.rs` or another module
//! hands on counts for the module that has it.

// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "circles/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use kiln_arch::tokens;
use source::{Used, children, used};

/// Names are handed on from module to module no more often than this.
const LONGEST_WAY: usize = 8;

/// From the crate's root, which is empty.
type Module = Vec<String>;

/// All modules of a crate and what each of them names.
type Modules = BTreeMap<Module, Vec<Used>>;

#[derive(Debug)]
struct Edge {
    from: Module,
    to: Module,
    path: String,
}

/// Takes modules as tokens; every module that others may name must be there.
fn modules(sources: &BTreeMap<Module, Vec<String>>) -> Modules {
    let of = |(module, tokens): (&Module, &Vec<String>)| {
        let is_child = |name: &str| sources.contains_key(&below(module, name));
        (module.clone(), used(tokens, &is_child))
    };
    sources.iter().map(of).collect()
}

fn below(module: &[String], name: &str) -> Module {
    [module, &[name.to_owned()]].concat()
}

/// Where a path begins, and the rest of it; nothing for other crates' paths.
fn beginning(modules: &Modules, module: &Module, path: &[String]) -> Option<(Module, Vec<String>)> {
    let supers = path.iter().take_while(|word| *word == "super").count();
    let (start, taken) = match path.first()?.as_str() {
        "crate" => (Module::new(), 1),
        "self" => (module.clone(), 1),
        "super" => (module[..module.len().checked_sub(supers)?].to_vec(), supers),
        first if modules.contains_key(&below(module, first)) => (module.clone(), 0),
        _ => return None,
    };
    Some((start, path[taken..].to_vec()))
}

/// The module that has what the path names, however often it is handed on.
fn owner(modules: &Modules, module: &Module, path: &[String]) -> Option<Module> {
    let (mut at, mut rest) = beginning(modules, module, path)?;
    for _ in 0..LONGEST_WAY {
        while !rest.is_empty() && modules.contains_key(&below(&at, &rest[0])) {
            at.push(rest.remove(0));
        }
        let Some(next) = rest.first().and_then(|name| handed_on(modules, &at, name)) else {
            break;
        };
        let behind = rest.split_off(1);
        (at, rest) = next;
        rest.extend(behind);
    }
    Some(at)
}

/// What a module calls by this name without having it.
fn handed_on(modules: &Modules, module: &Module, name: &str) -> Option<(Module, Vec<String>)> {
    let called = |used: &&Used| used.name.as_deref() == Some(name) && used.path != [name];
    let used = modules[module].iter().find(called)?;
    beginning(modules, module, &used.path)
}

fn edges(modules: &Modules) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (from, all) in modules {
        for used in all {
            if let Some(to) = owner(modules, from, &used.path).filter(|to| to != from) {
                let (from, path) = (from.clone(), used.path.join("::"));
                edges.push(Edge { from, to, path });
            }
        }
    }
    edges
}

/// Who uses whom among the modules of one folder, with the modules below them, and by which path.
fn siblings<'a>(folder: &[String], edges: &'a [Edge]) -> BTreeMap<(&'a str, &'a str), &'a Edge> {
    let inside = |module: &'a Module| -> Option<&'a str> {
        let rest = module.strip_prefix(folder)?;
        rest.first().map(String::as_str)
    };
    edges
        .iter()
        .filter_map(|edge| Some(((inside(&edge.from)?, inside(&edge.to)?), edge)))
        .filter(|((from, to), _)| from != to)
        .collect()
}

fn reaches(arrows: &BTreeSet<(&str, &str)>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut todo = vec![from];
    while let Some(at) = todo.pop() {
        let next = arrows.iter().filter(|(from, _)| *from == at);
        todo.extend(next.map(|(_, to)| *to).filter(|to| seen.insert(to)));
    }
    seen.contains(to)
}

/// All that are in one circle with a module; nobody if it is in none.
fn circle_of<'a>(arrows: &BTreeSet<(&'a str, &'a str)>, module: &str) -> Vec<&'a str> {
    let modules: BTreeSet<&str> = arrows.iter().map(|(from, _)| *from).collect();
    modules
        .into_iter()
        .filter(|other| reaches(arrows, module, other) && reaches(arrows, other, module))
        .collect()
}

/// A line for each arrow that is part of a circle, in the order of folders and circles.
fn circles(modules: &Modules) -> Vec<String> {
    let edges = edges(modules);
    let folders: BTreeSet<&[String]> = modules
        .keys()
        .filter_map(|module| Some(module.split_last()?.1))
        .collect();
    let of = |folder| circles_in(folder, &siblings(folder, &edges));
    folders.into_iter().flat_map(of).collect()
}

fn circles_in(folder: &[String], siblings: &BTreeMap<(&str, &str), &Edge>) -> Vec<String> {
    let arrows: BTreeSet<_> = siblings.keys().copied().collect();
    let mut lines = Vec::new();
    for ((from, to), edge) in siblings {
        let circle = circle_of(&arrows, from);
        if circle.contains(to) {
            let names = circle.join(", ");
            let names: Vec<&str> = folder.iter().map(|part| &**part).chain([&*names]).collect();
            let (names, file, path) = (names.join("/"), edge.from.join("/"), &edge.path);
            lines.push(format!("{names}: {from} -> {to}: {file}.rs uses {path}"));
        }
    }
    lines.sort();
    lines
}

/// The modules of the file and of those it names, without those of tests.
fn read(file: &Path, folder: &Path, module: Module, into: &mut BTreeMap<Module, Vec<String>>) {
    let tokens = tokens(&fs::read_to_string(file).unwrap());
    for name in children(&tokens) {
        let (beside, inner) = (folder.join(format!("{name}.rs")), folder.join(&name));
        let nested = inner.join("mod.rs");
        let file = if beside.exists() { beside } else { nested };
        read(&file, &inner, below(&module, &name), into);
    }
    into.insert(module, tokens);
}

/// The folders of crates with sources to look at, such as `crates/x`.
fn crates(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for group in ["bins", "crates"] {
        for entry in fs::read_dir(root.join(group)).unwrap() {
            let name = entry.unwrap().file_name();
            found.push(format!("{group}/{}", name.to_string_lossy()));
        }
    }
    found.sort();
    found
}

#[test]
fn no_circles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut looked_at = 0;
    let mut wrong = Vec::new();
    for name in crates(&root) {
        let source = root.join(&name).join("src");
        for file in ["lib.rs", "main.rs"].map(|file| source.join(file)) {
            if file.exists() {
                let mut sources = BTreeMap::new();
                read(&file, &source, Module::new(), &mut sources);
                looked_at += sources.len();
                let found = circles(&modules(&sources));
                wrong.extend(found.into_iter().map(|line| format!("{name}/src: {line}")));
            }
        }
    }
    assert!(looked_at > 100, "only {looked_at} modules");
    assert!(wrong.is_empty(), "circles:\n  {}", wrong.join("\n  "));
}

/// Modules by their paths with `/`, `lib` for the root.
fn made_up(files: &[(&str, &str)]) -> Modules {
    let path = |name: &str| match name {
        "lib" => Module::new(),
        name => name.split('/').map(str::to_owned).collect(),
    };
    let files = files.iter();
    modules(
        &files
            .map(|(name, text)| (path(name), tokens(text)))
            .collect(),
    )
}

type Files<'a> = &'a [(&'a str, &'a str)];

#[test]
fn circles_are_found() {
    let rows: &[(&str, Files<'_>, &[&str])] = &[
        (
            "two, through super",
            &[
                ("lib", ""),
                ("a", "use super::b::B;"),
                ("b", "fn f() { super::a::f() }"),
            ],
            &[
                "a, b: a -> b: a.rs uses super::b::B",
                "a, b: b -> a: b.rs uses super::a::f",
            ],
        ),
        (
            "three",
            &[
                ("lib", ""),
                ("a", "use crate::b;"),
                ("b", "use crate::c;"),
                ("c", "use crate::a;"),
            ],
            &[
                "a, b, c: a -> b: a.rs uses crate::b",
                "a, b, c: b -> c: b.rs uses crate::c",
                "a, b, c: c -> a: c.rs uses crate::a",
            ],
        ),
        (
            "through what lib.rs hands on",
            &[
                (
                    "lib",
                    "mod a; mod b; pub use a::{A, Other as Another}; pub use b::B;",
                ),
                ("a", "use crate::{B, Foreign};"),
                ("b", "impl From<crate::Another> for B {}"),
            ],
            &[
                "a, b: a -> b: a.rs uses crate::B",
                "a, b: b -> a: b.rs uses crate::Another",
            ],
        ),
        (
            "in a folder, through what the parent hands on",
            &[
                ("lib", ""),
                ("p", "mod a; mod b; use a::A;"),
                ("p/a", "use super::b::{self, B};"),
                ("p/b", "use super::A;"),
            ],
            &[
                "p/a, b: a -> b: p/a.rs uses super::b::B",
                "p/a, b: b -> a: p/b.rs uses super::A",
            ],
        ),
        (
            "between a module and one below its neighbour",
            &[
                ("lib", ""),
                ("a", ""),
                ("a/x", "use crate::b::B;"),
                ("b", "use crate::a;"),
            ],
            &[
                "a, b: a -> b: a/x.rs uses crate::b::B",
                "a, b: b -> a: b.rs uses crate::a",
            ],
        ),
    ];
    assert!(!rows.is_empty());
    for (what, files, expected) in rows {
        assert_eq!(circles(&made_up(files)), *expected, "{what}");
    }
}

#[test]
fn nothing_else_is_a_circle() {
    let rows: &[(&str, Files<'_>)] = &[
        (
            "a parent and its children",
            &[
                ("lib", "mod p; pub use p::P;"),
                ("p", "mod c; use c::C; fn f() { c::f() }"),
                ("p/c", "use super::P; use crate::P as Q;"),
            ],
        ),
        (
            "one way only",
            &[
                ("lib", "pub use a::A;"),
                ("a", "use std::fmt; use other::b;"),
                ("b", "use crate::A;"),
            ],
        ),
        (
            "comments, texts and tests",
            &[
                ("lib", ""),
                ("a", "use crate::b::B;"),
                (
                    "b",
                    r##"// crate::a::A
                    /* crate::a /* crate::a */ crate::a */
                    const T: [&str; 2] = ["\"crate::a::A", r#"crate::a::A"#];
                    fn quote<'a>(c: &'a char) -> bool { *c == '"' || *c == '\'' }
                    #[cfg(test)]
                    #[allow(dead_code)]
                    mod tests { use crate::a::A; fn f() { let _ = A { x: [1] }; } }
                    #[cfg(test)]
                    use crate::a::A;"##,
                ),
            ],
        ),
    ];
    assert!(!rows.is_empty());
    for (what, files) in rows {
        assert_eq!(circles(&made_up(files)), [""; 0], "{what}");
    }
}
