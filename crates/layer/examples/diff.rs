//! Makes the layer that turns one directory into another.
//!
//! ```sh
//! cargo run -p kiln-layer --example diff -- OLD NEW LAYER
//! ```
//!
//! Every name of a file with hard links is packed as a file of its own; `kiln-snapshot` tells them apart.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::io::{BufReader, Read};

use kiln_layer::{
    Compression, Entry, EntryKind, ImagePath, LayerError, LayerWriter, Root, WriterOptions,
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(old), Some(new), Some(layer)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: diff OLD NEW LAYER".into());
    };
    let (old, new) = (Root::open(&old)?, Root::open(&new)?);
    let mut entries = Vec::new();
    compare(
        &old,
        Some(&ImagePath::root()),
        &new,
        &ImagePath::root(),
        &mut entries,
    )?;

    let out = File::create(layer)?;
    let mut writer = LayerWriter::new(out, Compression::default(), WriterOptions::default());
    for entry in &entries {
        println!("{} {}", entry.kind.name(), entry.path);
        match entry.kind {
            EntryKind::File { .. } => {
                let mut content = new.open_file(&entry.path, false)?;
                writer.append(entry, Some(&mut content))?;
            }
            _ => writer.append(entry, None)?,
        }
    }
    let (info, _) = writer.finish()?;
    println!(
        "{} bytes, {}, diff-id {}",
        info.size, info.digest, info.diff_id
    );
    Ok(())
}

/// Collects what differs below a directory. `before` is where it was, if it was a directory then.
fn compare(
    old: &Root,
    before: Option<&ImagePath>,
    new: &Root,
    now: &ImagePath,
    entries: &mut Vec<Entry>,
) -> Result<(), LayerError> {
    let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
    if let Some(before) = before {
        names.extend(old.read_dir(before)?.into_iter().map(|entry| entry.name));
    }
    names.extend(new.read_dir(now)?.into_iter().map(|entry| entry.name));
    for name in names {
        let path = now.join(&name);
        let was = match before {
            Some(_) => old.entry(&path)?,
            None => None,
        };
        let Some(is) = new.entry(&path)? else {
            entries.extend(was.map(|_| Entry::new(path, EntryKind::Whiteout)));
            continue;
        };
        let was_directory = was
            .as_ref()
            .is_some_and(|was| was.kind == EntryKind::Directory);
        let is_directory = is.kind == EntryKind::Directory;
        if was.as_ref() != Some(&is) || !same_content(old, new, &is)? {
            entries.push(is);
        }
        if is_directory {
            compare(old, was_directory.then_some(&path), new, &path, entries)?;
        }
    }
    Ok(())
}

/// Whether a file with equal attributes has equal bytes as well; other kinds are all in their attributes.
fn same_content(old: &Root, new: &Root, entry: &Entry) -> Result<bool, LayerError> {
    let EntryKind::File { .. } = entry.kind else {
        return Ok(true);
    };
    let old = BufReader::new(old.open_file(&entry.path, false)?).bytes();
    let new = BufReader::new(new.open_file(&entry.path, false)?).bytes();
    // An error of reading counts as a difference: it comes again when the file is packed.
    Ok(old
        .zip(new)
        .all(|(one, other)| matches!((one, other), (Ok(one), Ok(other)) if one == other)))
}
