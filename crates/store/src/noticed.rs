//! What the registry client, the volume and views of the context notice, as events.

use std::sync::Arc;

use kiln_context::ContextNotice;
use kiln_events::{Event, EventSink, NoteKind, WarningKind};
use kiln_registry::{RegistryNotice, RegistrySettings};
use kiln_tarball_cache::{Listener, VolumeNotice};

/// The settings for a client whose notices become events.
pub fn telling(settings: &RegistrySettings, events: &Arc<dyn EventSink>) -> RegistrySettings {
    let events = Arc::clone(events);
    let tell = move |notice: RegistryNotice| events.event(of_registry(&notice));
    RegistrySettings {
        notices: Listener::new(tell),
        ..settings.clone()
    }
}

/// Whom a volume tells, so that its notices become events.
pub fn of_volumes(events: &Arc<dyn EventSink>) -> Listener<VolumeNotice> {
    let events = Arc::clone(events);
    Listener::new(move |notice: VolumeNotice| events.event(of_volume(&notice)))
}

/// Whom the views of a context tell what they leave out, so that it becomes events.
pub fn of_contexts(events: &Arc<dyn EventSink>) -> Listener<ContextNotice> {
    let events = Arc::clone(events);
    Listener::new(move |notice: ContextNotice| {
        let kind = match notice {
            ContextNotice::Socket(_) => WarningKind::LeftOutOfContext,
        };
        events.event(Event::warning(kind, notice.to_string()));
    })
}

fn of_registry(notice: &RegistryNotice) -> Event {
    let kind = match notice {
        RegistryNotice::CredentialsFile { .. }
        | RegistryNotice::CredentialsEntry { .. }
        | RegistryNotice::CredentialHelper { .. } => WarningKind::Credentials,
        RegistryNotice::Proxy => WarningKind::Proxy,
        RegistryNotice::Certificates => WarningKind::Certificates,
        RegistryNotice::TagHolds { .. } => {
            return Event::note(NoteKind::Push, notice.to_string());
        }
        RegistryNotice::TagKept { .. } => WarningKind::ImmutableTag,
        RegistryNotice::Source { .. } => WarningKind::SourceFailed,
    };
    Event::warning(kind, notice.to_string())
}

fn of_volume(notice: &VolumeNotice) -> Event {
    let text = notice.to_string();
    match notice {
        VolumeNotice::SetAside { .. } => Event::note(NoteKind::Volume, text),
        VolumeNotice::NoLocks { .. } => Event::warning(WarningKind::Volume, text),
    }
}
