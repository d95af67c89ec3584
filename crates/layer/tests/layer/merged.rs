//! The index of an image and the files of an image are one tree.

use std::collections::BTreeMap;

use kiln_layer::{
    Entry, EntryKind, ExtractOptions, ImagePath, LayerError, LayerReader, LinkGroup, NodeKind,
    Owners, Root, TreeIndex, extract,
};
use proptest::prelude::*;

use crate::disk::{Kind, Seen, seen};
use crate::lines::pack;
use crate::privilege::{can_mknod, can_set, owners};
use crate::trees::{Item, config};

/// Which things can be made and seen here.
#[derive(Clone, Copy)]
struct Abilities {
    devices: bool,
    notes: bool,
}

fn abilities() -> Abilities {
    Abilities {
        devices: can_mknod(),
        notes: can_set("user.a", b"b"),
    }
}

/// Few names, so that layers meet; `..` only where links may have it.
fn path() -> impl Strategy<Value = ImagePath> {
    "[abc](/[abc]){0,3}".prop_map(|path| ImagePath::from(&*path))
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    "/?((\\.\\.|\\.|[abc])/){0,3}(\\.\\.|[abc])".prop_map(String::into_bytes)
}

fn kind() -> impl Strategy<Value = (EntryKind, Vec<u8>)> {
    let bare = |kind| Just((kind, Vec::new()));
    prop_oneof![
        5 => prop::collection::vec(b'a'..b'e', 0..9).prop_map(|content| {
            let size = content.len() as u64;
            (EntryKind::File { size }, content)
        }),
        5 => bare(EntryKind::Directory),
        3 => target().prop_map(|target| (EntryKind::Symlink { target }, Vec::new())),
        3 => path().prop_map(|target| (EntryKind::Hardlink { target }, Vec::new())),
        1 => bare(EntryKind::Fifo),
        1 => bare(EntryKind::CharDevice { major: 1, minor: 3 }),
        3 => bare(EntryKind::Whiteout),
        1 => bare(EntryKind::OpaqueMarker),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let mode = prop::sample::select(vec![0o755, 0o644, 0o2755, 0o4711, 0]);
    let owner = (0..2_u32, 0..3_u32);
    let notes = prop::option::weighted(0.2, (b'a'..b'c', 0..9_u8));
    (path(), kind(), mode, owner, 0..9_i64, notes).prop_map(
        |(path, (kind, content), mode, owner, mtime, notes)| {
            let mut entry = Entry::new(path, kind);
            if entry.kind.is_marker() {
                return (entry, content);
            }
            if !matches!(entry.kind, EntryKind::Symlink { .. }) {
                entry.mode = mode;
            }
            (entry.uid, entry.gid) = owner;
            entry.mtime = mtime;
            if matches!(entry.kind, EntryKind::File { .. } | EntryKind::Directory)
                && let Some((name, value)) = notes
            {
                let name = [b"user.", [name].as_slice()].concat();
                entry.xattrs.insert(name, vec![value]);
            }
            (entry, content)
        },
    )
}

fn layers() -> impl Strategy<Value = Vec<Vec<Item>>> {
    prop::collection::vec(prop::collection::vec(item(), 1..10), 1..5)
}

/// Leaves out what cannot be made here.
fn possible(mut items: Vec<Item>, abilities: Abilities) -> Vec<Item> {
    items.retain(|(entry, _)| {
        abilities.devices || !matches!(entry.kind, EntryKind::CharDevice { .. })
    });
    if !abilities.notes {
        for (entry, _) in &mut items {
            entry.xattrs.clear();
        }
    }
    items
}

/// The index as if it were read from a disk; files hold zeros, as many as they are long.
pub(crate) fn indexed(tree: &TreeIndex) -> BTreeMap<Vec<u8>, Seen> {
    let mut groups: BTreeMap<LinkGroup, Vec<Vec<u8>>> = BTreeMap::new();
    let top = ImagePath::root();
    for (path, node) in tree.walk(&top) {
        if let NodeKind::File {
            links: Some(links), ..
        } = node.kind
        {
            groups
                .entry(links)
                .or_default()
                .push(path.as_bytes().into());
        }
    }
    for names in groups.values_mut() {
        names.sort();
    }
    let all = tree.walk(&top).skip(1);
    all.map(|(path, node)| {
        let path = path.as_bytes().to_vec();
        let kind = match &node.kind {
            NodeKind::File { size, links } => {
                let names = match links {
                    Some(links) => groups[links].clone(),
                    None => vec![path.clone()],
                };
                Kind::File(vec![0; *size as usize], names)
            }
            NodeKind::Directory => Kind::Directory,
            NodeKind::Symlink { target } => Kind::Symlink(target.to_vec()),
            NodeKind::CharDevice { major, minor } => Kind::Char(*major, *minor),
            NodeKind::Fifo => Kind::Fifo,
            NodeKind::BlockDevice { .. } => Kind::Other,
        };
        let seen = Seen {
            kind,
            mode: node.mode,
            owner: (node.uid, node.gid),
            mtime: node.mtime,
            notes: (*node.xattrs).clone(),
        };
        (path, seen)
    })
    .collect()
}

/// Takes away what an index does not know: content, times of directories, owners that could not be set.
pub(crate) fn comparable(mut tree: BTreeMap<Vec<u8>, Seen>) -> BTreeMap<Vec<u8>, Seen> {
    let owners = owners();
    for seen in tree.values_mut() {
        match &mut seen.kind {
            Kind::File(content, _) => content.fill(0),
            // A directory that a layer puts something into without an entry for it gets a new time.
            Kind::Directory => seen.mtime = 0,
            _ => {}
        }
        if owners == Owners::Ignore {
            seen.owner = (0, 0);
        }
    }
    tree
}

fn unpack(items: &[Item], root: &Root) -> Result<Vec<Entry>, LayerError> {
    let options = ExtractOptions {
        owners: owners(),
        ..ExtractOptions::default()
    };
    let layer = pack(items);
    let report = extract(LayerReader::new(layer.as_slice()), root, &options)?;
    assert_eq!(report.skipped, []);
    Ok(report.listing.unwrap())
}

/// The items that an index takes, one after the other, on top of `tree`.
fn accepted(tree: &TreeIndex, number: u32, items: Vec<Item>) -> Vec<Item> {
    let mut taken: Vec<Item> = Vec::new();
    for item in items {
        let with = taken.iter().chain([&item]).map(|(entry, _)| entry.clone());
        if tree.clone().apply_layer(number, with).is_ok() {
            taken.push(item);
        }
    }
    taken
}

// conformance: G28
// conformance: G29
// conformance: G30
// conformance: G31
// conformance: G32
// conformance: G37
#[test]
fn an_index_of_layers_is_what_they_unpack_to() {
    let abilities = abilities();
    proptest!(config(110), |(layers in layers(), twice in any::<bool>())| {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut tree = TreeIndex::new();
        let mut last = Vec::new();
        for (number, items) in layers.into_iter().enumerate() {
            let number = number as u32;
            let items = accepted(&tree, number, possible(items, abilities));
            let listing = unpack(&items, &root).unwrap();
            tree.apply_layer(number, listing.clone()).unwrap();
            let disk = comparable(seen(dir.path()));
            prop_assert_eq!(&comparable(indexed(&tree)), &disk, "{:?}", listing);
            let nodes = tree.walk(&ImagePath::root()).count();
            prop_assert_eq!((tree.len(), nodes - 1), (nodes, disk.len()));
            last = items;
        }
        // A layer may not be the same on top of itself, since links can be there now that were not, and lead to an
        // error. If they do not, the two agree again.
        if twice && let Ok(listing) = unpack(&last, &root) {
            tree.apply_layer(9, listing.clone()).unwrap();
            let disk = comparable(seen(dir.path()));
            prop_assert_eq!(&comparable(indexed(&tree)), &disk, "twice: {:?}", listing);
        }
    });
}

// conformance: G29
// conformance: G31
#[test]
fn an_index_refuses_what_cannot_be_unpacked_and_nothing_else() {
    let abilities = abilities();
    proptest!(config(110), |(lower in prop::collection::vec(item(), 0..8), upper in prop::collection::vec(item(), 1..4))| {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut tree = TreeIndex::new();
        let lower = accepted(&tree, 0, possible(lower, abilities));
        tree.apply_layer(0, unpack(&lower, &root).unwrap()).unwrap();
        let upper = possible(upper, abilities);
        let entries: Vec<Entry> = upper.iter().map(|(entry, _)| entry.clone()).collect();
        let (unpacked, merged) = (unpack(&upper, &root), tree.apply_layer(1, entries));
        match (&unpacked, &merged) {
            (Ok(_), Ok(())) => prop_assert_eq!(comparable(indexed(&tree)), comparable(seen(dir.path()))),
            (Err(one), Err(other)) => {
                prop_assert!(one.is_bad_layer() && other.is_bad_layer(), "{:?} {:?}", one, other);
            }
            _ => prop_assert!(false, "unpacked: {:?}, merged: {:?}", unpacked, merged),
        }
    });
}

fn is_link(entry: &Entry) -> bool {
    matches!(
        entry.kind,
        EntryKind::Symlink { .. } | EntryKind::Hardlink { .. }
    )
}

// conformance: G32
#[test]
fn markers_mean_the_same_in_any_order() {
    let abilities = abilities();
    // Without links: those change where the names that follow them lead, which only makes sense in order.
    let items = || {
        prop::collection::vec(
            item().prop_filter("a link", |(entry, _)| !is_link(entry)),
            1..9,
        )
    };
    let orders = prop::collection::vec(any::<prop::sample::Index>(), 9);
    proptest!(config(70), |(lower in items(), upper in items(), orders in orders)| {
        let mut below = TreeIndex::new();
        let lower = accepted(&below, 0, possible(lower, abilities));
        below.apply_layer(0, lower.iter().map(|(entry, _)| entry.clone())).unwrap();
        let upper = accepted(&below, 1, possible(upper, abilities));
        let (markers, others): (Vec<Item>, Vec<Item>) =
            upper.into_iter().partition(|(entry, _)| entry.kind.is_marker());
        let mut mixed = others.clone();
        for (marker, order) in markers.iter().zip(&orders) {
            mixed.insert(order.index(mixed.len() + 1), marker.clone());
        }
        let results = [[others.clone(), markers.clone()].concat(), mixed].map(|items| {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::open(dir.path()).unwrap();
            unpack(&lower, &root).unwrap();
            let unpacked = unpack(&items, &root).map(drop);
            unpacked.map(|()| comparable(seen(dir.path()))).map_err(|error| error.to_string())
        });
        if let [Ok(one), Ok(other)] = &results {
            prop_assert_eq!(one, other);
        }
    });
}
