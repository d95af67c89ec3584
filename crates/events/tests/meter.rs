//! What a meter tells of a transfer, and how often.
// Helpers outside of `#[test]` functions fail a test as much as those inside.
#![allow(clippy::unwrap_used)]

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use kiln_events::{Careful, Event, Meter, Metered, Subject, Transfer, TransferKind};
use kiln_oci::Digest;
use kiln_testkit::FakeListener;

fn told(listener: &FakeListener) -> Vec<String> {
    let events = listener.events();
    let told = events.iter().map(|event| match event {
        Event::TransferBegun { transfer } => format!("{} begun", transfer.kind.name()),
        Event::TransferMoved { moved, .. } => format!("moved {moved}"),
        Event::TransferEnded { moved, done, .. } => format!("ended at {moved}: {done}"),
        other => format!("{other:?}"),
    });
    told.collect()
}

#[test]
fn a_transfer_begins_with_its_first_byte_and_ends_once() {
    let listener = FakeListener::new();
    let digest = Digest::of(b"blob");
    let transfer = Transfer::new(TransferKind::Pull).of(digest, 10);
    let meter = Meter::new(&listener.sink(), transfer);
    assert!(listener.events().is_empty());
    meter.reach(4);
    // Sooner than a tenth of a second after the first.
    meter.reach(10);
    meter.done();
    drop(meter);
    assert_eq!(told(&listener), ["pull begun", "ended at 10: true"]);
    let Event::TransferEnded { transfer, .. } = &listener.events()[1] else {
        panic!("it did not end");
    };
    assert_eq!((transfer.digest, transfer.wanted), (Some(digest), Some(10)));
}

#[test]
fn what_never_began_is_not_told_and_what_is_dropped_has_failed() {
    let listener = FakeListener::new();
    let meter = || Meter::new(&listener.sink(), Transfer::new(TransferKind::Push));
    // The registry had it.
    meter().done();
    drop(meter());
    assert!(listener.events().is_empty());
    meter().add(3);
    assert_eq!(told(&listener), ["push begun", "ended at 3: false"]);
}

#[test]
fn bytes_are_counted_on_their_way() {
    let listener = FakeListener::new();
    let meter = |kind| Arc::new(Meter::new(&listener.sink(), Transfer::new(kind)));
    let (unpack, pack) = (meter(TransferKind::Unpack), meter(TransferKind::Pack));
    let mut read = Vec::new();
    let mut reader = Metered::new(&b"seven b"[..], Some(Arc::clone(&unpack)));
    reader.read_to_end(&mut read).unwrap();
    unpack.done();
    let mut writer = Metered::new(io::sink(), Some(Arc::clone(&pack)));
    writer.write_all(b"four").unwrap();
    pack.done();
    let expected = [
        "unpack begun",
        "ended at 7: true",
        "pack begun",
        "ended at 4: true",
    ];
    assert_eq!(told(&listener), expected);
}

// finding 13
#[test]
fn names_of_transfers_are_shown_as_people_may_see_them() {
    let listener = FakeListener::new();
    let archive = Subject::Archive("https://me:t0k3n@host/a.tar".to_owned());
    let transfer = Transfer::new(TransferKind::Pack).on_behalf_of(Some(archive));
    Meter::new(&Careful::before(listener.sink()), transfer).add(1);
    let events = listener.events();
    assert_eq!(events.len(), 2);
    assert!(!format!("{events:?}").contains("t0k3n"), "{events:?}");
}
