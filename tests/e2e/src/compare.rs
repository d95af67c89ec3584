//! Differences between images, in lines that people can read.

use serde_json::Value;

use crate::tree::Tree;

/// One line per path that differs in anything but times: `+` only in `b`, `-` only in `a`, `~` in both.
///
/// A path for which `ignored` says yes is left out.
pub fn compare_trees(a: &Tree, b: &Tree, ignored: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, node) in &a.0 {
        if ignored(path) {
            continue;
        }
        match b.get(path) {
            None => lines.push(format!("- {path}: {node}")),
            Some(other) => {
                let (mut left, mut right) = (node.clone(), other.clone());
                left.mtime = 0;
                right.mtime = 0;
                if left != right {
                    lines.push(format!("~ {path}: {node}  =>  {other}"));
                }
            }
        }
    }
    let added =
        b.0.iter()
            .filter(|(path, _)| !ignored(path) && !a.has(path));
    lines.extend(added.map(|(path, node)| format!("+ {path}: {node}")));
    lines
}

/// One line per key of the two image configs' `config` objects (and platform) that differs.
///
/// Absent, null and empty values are the same thing to every consumer of an image, so they are equal here.
pub fn compare_configs(a: &Value, b: &Value, ignored: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for key in ["architecture", "os", "variant"] {
        if settled(&a[key]) != settled(&b[key]) {
            lines.push(format!("{key}: {} => {}", a[key], b[key]));
        }
    }
    let empty = serde_json::Map::new();
    let (a, b) = (
        a["config"].as_object().unwrap_or(&empty),
        b["config"].as_object().unwrap_or(&empty),
    );
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys
        .into_iter()
        .filter(|key| !ignored.contains(&key.as_str()))
    {
        let (left, right) = (
            a.get(key).unwrap_or(&Value::Null),
            b.get(key).unwrap_or(&Value::Null),
        );
        if settled(left) != settled(right) {
            lines.push(format!("config.{key}: {left} => {right}"));
        }
    }
    lines
}

fn settled(value: &Value) -> Option<&Value> {
    let empty = match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(_) => false,
    };
    (!empty).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::TarTree;
    use serde_json::json;

    fn tree(layers: Vec<TarTree>) -> Tree {
        let mut tree = Tree::default();
        for layer in layers {
            tree.apply(&Tree::of_layer(&layer.finish()[..]).unwrap());
        }
        tree
    }

    #[test]
    fn says_what_differs_and_nothing_else() {
        let a = tree(vec![
            TarTree::new()
                .dir("d/", 0o755)
                .file("d/same", 0o644, "x")
                .file("d/mode", 0o644, "x")
                .file("gone", 0o644, ""),
        ]);
        let b = tree(vec![
            TarTree::new()
                .dir("d/", 0o755)
                .file("d/same", 0o644, "x")
                .file("d/mode", 0o600, "x")
                .symlink("new", "d"),
        ]);
        let lines = compare_trees(&a, &b, |_| false);
        assert_eq!(lines.len(), 3, "{lines:#?}");
        assert!(
            lines[0].starts_with("~ d/mode: file 1 B")
                && lines[0].contains("0644")
                && lines[0].contains("0600")
        );
        assert!(lines[1].starts_with("- gone") && lines[2].starts_with("+ new: symlink -> d"));
        assert_eq!(compare_trees(&a, &a, |_| false), Vec::<String>::new());
    }

    #[test]
    fn merges_layers_with_whiteouts_and_links() {
        let merged = tree(vec![
            TarTree::new()
                .dir("d/", 0o755)
                .file("d/a", 0o644, "1")
                .file("d/b", 0o644, "2")
                .dir("o/", 0o755)
                .file("o/x", 0o644, "3"),
            TarTree::new()
                .file("d/.wh.a", 0, "")
                .dir("o/", 0o700)
                .file("o/y", 0o644, "4")
                .file("o/.wh..wh..opq", 0, "")
                .hardlink("z", 0o644, "d/b"),
        ]);
        assert_eq!(merged.paths(), ["d", "d/b", "o", "o/y", "z"]);
        assert_eq!(merged.text("z"), "2");
        assert_eq!(merged.node("z"), merged.node("d/b"));
        assert_eq!(merged.owner("o"), "0700 0:0");
    }

    #[test]
    fn empty_settings_are_equal_to_absent_ones() {
        let a = json!({ "os": "linux", "config": { "Cmd": null, "User": "", "Env": ["A=1"] } });
        let b = json!({ "os": "linux", "config": { "Env": ["A=2"] } });
        assert_eq!(
            compare_configs(&a, &b, &[]),
            [r#"config.Env: ["A=1"] => ["A=2"]"#]
        );
        assert!(compare_configs(&a, &b, &["Env"]).is_empty());
    }
}
