//! The Dockerfile and its ignore file: text that is read whole, and shown in messages when it is wrong.

use std::io;
use std::path::{Component, Path, PathBuf};

use kiln_layer::{ImagePath, LayerError, Root};
use kiln_oci::SmallFile;

/// The size of a Dockerfile; people write some kilobytes.
pub const DOCKERFILE: SmallFile = SmallFile::new("a Dockerfile", 4 << 20);

/// The size of an ignore file.
pub const IGNORE_FILE: SmallFile = SmallFile::new("an ignore file", 1 << 20);

/// Reads a file that belongs to a build. What is in the build's context, which may come from anywhere, is looked up
/// inside of it as the source of a COPY is: a link never leads to a file of this machine, of which a message would show
/// lines. A path elsewhere is one that the caller chose, and may be a link.
pub fn read_text(context: &Path, path: &Path, kind: SmallFile) -> io::Result<Vec<u8>> {
    let Some((root, below)) = inside(context, path) else {
        return kind.read(path);
    };
    let failed = |error: LayerError| match error {
        LayerError::Io { source, .. } => source,
        other => io::Error::other(other),
    };
    let root = Root::open(&root).map_err(failed)?;
    let bytes = below.as_os_str().as_encoded_bytes();
    let found = root.resolve(bytes, true).map_err(failed)?;
    if found.missing > 0 {
        let named = root.stat(&ImagePath::from_bytes_cleaned(bytes));
        return Err(match named {
            Ok(Some(_)) => io::Error::other(
                "it is a link to something that is not in the build context; links are followed inside of it only",
            ),
            _ => io::ErrorKind::NotFound.into(),
        });
    }
    kind.read_open(root.open_file(&found.path, false).map_err(failed)?)
}

/// The context's real folder and the path below it, if `path` is in there; by its text, or by the folder it is in.
fn inside(context: &Path, path: &Path) -> Option<(PathBuf, PathBuf)> {
    let root = std::fs::canonicalize(context).ok()?;
    let plain = |below: &&Path| !below.components().any(|part| part == Component::ParentDir);
    let by_text = [context, root.as_path()]
        .into_iter()
        .find_map(|dir| path.strip_prefix(dir).ok().filter(plain));
    if let Some(below) = by_text {
        return Some((root, below.to_owned()));
    }
    let parent = std::fs::canonicalize(path.parent()?).ok()?;
    let below = parent.strip_prefix(&root).ok()?.join(path.file_name()?);
    Some((root, below))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    // finding 2
    #[test]
    fn links_of_the_context_stay_inside() {
        let temp = tempfile::tempdir().unwrap();
        let (context, outside) = (temp.path().join("context"), temp.path().join("outside"));
        fs::create_dir_all(context.join("sub")).unwrap();
        fs::write(&outside, "secret").unwrap();
        fs::write(context.join("sub/real"), "text").unwrap();
        symlink(&outside, context.join("absolute")).unwrap();
        symlink("../outside", context.join("climbing")).unwrap();
        symlink("/sub/real", context.join("chrooted")).unwrap();
        symlink("sub/real", context.join("relative")).unwrap();
        symlink(temp.path(), context.join("out")).unwrap();
        symlink(&context, temp.path().join("alias")).unwrap();
        symlink("outside", temp.path().join("chosen")).unwrap();
        let rows = [
            ("context/sub/real", Some("text")),
            ("context/relative", Some("text")),
            ("context/chrooted", Some("text")),
            ("context/sub/../relative", Some("text")),
            ("alias/relative", Some("text")),
            ("outside", Some("secret")),
            ("chosen", Some("secret")),
            ("context/../chosen", Some("secret")),
            ("context/absolute", None),
            ("context/climbing", None),
            ("alias/absolute", None),
            ("alias/sub/../absolute", None),
            ("context/out/outside", None),
            ("context/missing", None),
        ];
        for (path, expected) in rows {
            for context in [&context, &temp.path().join("alias")] {
                let read = read_text(context, &temp.path().join(path), DOCKERFILE).ok();
                assert_eq!(read.as_deref(), expected.map(str::as_bytes), "{path}");
            }
        }
        let error = read_text(&context, &context.join("absolute"), DOCKERFILE).unwrap_err();
        assert!(error.to_string().contains("not in the build context"));
        let error = read_text(&context, &context.join("missing"), DOCKERFILE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
