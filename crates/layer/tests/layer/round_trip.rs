//! What goes into a layer comes out of it.

use std::io::Write;
use std::sync::{Arc, Mutex};

use kiln_layer::{
    Compression, ExtractOptions, LayerInfo, LayerReader, LayerWriter, Root, WriterOptions, extract,
    read_listing,
};
use kiln_oci::DiffId;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::disk::seen;
use crate::privilege::{can_set, skipped_without_chown};
use crate::trees::{Item, config, expected, tree};

/// The uncompressed tar as it passes by.
#[derive(Clone, Default)]
struct Copy(Arc<Mutex<Vec<u8>>>);

impl Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Packs the items; gives the packed bytes and the tar that the writer says it packed.
fn pack(items: &[Item], compression: Compression, threads: usize) -> (LayerInfo, Vec<u8>, Vec<u8>) {
    let copy = Copy::default();
    let options = WriterOptions {
        threads,
        tee: Some(Box::new(copy.clone())),
        ..WriterOptions::default()
    };
    let mut writer = LayerWriter::new(Vec::new(), compression, options);
    for (entry, content) in items {
        writer.append(entry, Some(&mut content.as_slice())).unwrap();
    }
    let (info, packed) = writer.finish().unwrap();
    let tar = std::mem::take(&mut *copy.0.lock().unwrap());
    (info, packed, tar)
}

fn compressions() -> impl Strategy<Value = [Compression; 3]> {
    let gzip = prop_oneof![Just(None), (0..10_u32).prop_map(Some)];
    let zstd = prop_oneof![Just(None), (-7..10_i32).prop_map(Some)];
    (gzip, zstd).prop_map(|(gzip, zstd)| {
        [
            Compression::None,
            Compression::Gzip { level: gzip },
            Compression::Zstd { level: zstd },
        ]
    })
}

// conformance: G28
// conformance: G31
// conformance: G33
// conformance: G34
// conformance: G35
#[test]
fn a_tree_comes_back_from_every_packing() {
    if skipped_without_chown() {
        return;
    }
    let notes = can_set("user.a", b"b");
    proptest!(config(40), |(mut items in tree(), compressions in compressions())| {
           if !notes {
               for (entry, _) in &mut items {
    entry.xattrs.clear();
    }
           }
           let entries: Vec<_> = items.iter().map(|(entry, _)| entry.clone()).collect();
           let expected = expected(&items);
           for compression in compressions {
               let (info, packed, tar) = pack(&items, compression, 1);
               let diff_id = DiffId::from_bytes(Sha256::digest(&tar).into());
               prop_assert_eq!(info.diff_id, diff_id);
               prop_assert_eq!(info.size, packed.len() as u64);
               let listing = read_listing(LayerReader::new(packed.as_slice())).unwrap();
               prop_assert_eq!(&listing, &(entries.clone(), diff_id));

               let dir = tempfile::tempdir().unwrap();
               let root = Root::open(dir.path()).unwrap();
               let report = extract(LayerReader::new(packed.as_slice()), &root, &ExtractOptions::default()).unwrap();
               prop_assert_eq!(report.diff_id, diff_id);
               prop_assert_eq!(report.listing.as_ref(), Some(&entries));
               prop_assert_eq!(&report.skipped, &[]);
               prop_assert_eq!(&seen(dir.path()), &expected, "{:?}", compression);
           }
       });
}

/// A file larger than the pieces in which threads compress.
fn large() -> impl Strategy<Value = Item> {
    (1..3_usize << 20, any::<u8>()).prop_map(|(size, step)| {
        let content: Vec<u8> = (0..size)
            .map(|at| (at / 7 * usize::from(step)) as u8)
            .collect();
        (kiln_layer::Entry::file("large", size as u64), content)
    })
}

// conformance: G44
// conformance: G45
#[test]
fn threads_do_not_change_a_byte() {
    proptest!(config(5), |(large in large(), more in tree(), compressions in compressions())| {
        let mut items = vec![large];
        items.extend(more);
        for compression in compressions {
            let (info, packed, tar) = pack(&items, compression, 1);
            for threads in [2, 3, 0] {
                let again = pack(&items, compression, threads);
                prop_assert!(again == (info.clone(), packed.clone(), tar.clone()), "{:?} {}", compression, threads);
            }
            let (_, diff_id) = read_listing(LayerReader::new(packed.as_slice())).unwrap();
            prop_assert_eq!(diff_id, info.diff_id);
        }
    });
}
