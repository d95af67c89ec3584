//! Becoming the user of a command, with Docker's capabilities (D16).

use std::io;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::step;
use crate::SetupError;
use crate::id_map::in_user_namespace;
use crate::wire::Job;

/// Docker's default, 00000000a80425fb.
const DEFAULT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::AUDIT_WRITE)
    .union(CapabilitySet::SETFCAP);

/// Sets groups, group, user and capabilities of this process, for good.
pub(super) fn assume(job: &Job) -> Result<(), SetupError> {
    give_output_to(job.uid);
    bound_capabilities();
    set_groups(job)?;
    let gid = Gid::from_raw(job.gid);
    setresgid(gid, gid, gid).map_err(not_mapped(format!("gid {}", job.gid)))?;
    let uid = Uid::from_raw(job.uid);
    setresuid(uid, uid, uid).map_err(not_mapped(format!("uid {}", job.uid)))?;
    let permitted = if job.uid == 0 {
        let own = rustix::thread::capabilities(None).map_err(step("read", "capabilities"))?;
        own.permitted & DEFAULT_CAPABILITIES
    } else {
        CapabilitySet::empty()
    };
    let sets = CapabilitySets {
        effective: permitted,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets).map_err(step("set", "capabilities"))
}

/// `echo >/dev/stderr` opens the pipe anew, which only its owner may.
fn give_output_to(uid: u32) {
    if uid != 0 {
        let owner = Some(rustix::fs::Uid::from_raw(uid));
        // Only that way of writing is lost if it fails, which it does where the id is not mapped.
        let _ = rustix::fs::fchown(io::stdout(), owner, None);
        let _ = rustix::fs::fchown(io::stderr(), owner, None);
    }
}

/// Without SETPCAP the bound stays what the container has, which is no more than this process could use anyway.
fn bound_capabilities() {
    for bit in 0..CapabilitySet::all().bits().count_ones().min(63) {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        if DEFAULT_CAPABILITIES.contains(capability) {
            continue;
        }
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(false) => {}
            Ok(true) => {
                if rustix::thread::remove_capability_from_bounding_set(capability).is_err() {
                    break;
                }
            }
            // Beyond the last one this kernel knows.
            Err(_) => break,
        }
    }
    let _ = rustix::thread::clear_ambient_capability_set();
}

fn set_groups(job: &Job) -> Result<(), SetupError> {
    let groups: Vec<Gid> = job.groups.iter().copied().map(Gid::from_raw).collect();
    let Err(error) = setgroups(&groups) else {
        return Ok(());
    };
    // A user namespace with a single id forbids the call; one's own group is no loss.
    if in_user_namespace() && job.groups.iter().all(|group| *group == job.gid) {
        return Ok(());
    }
    let list: Vec<String> = job.groups.iter().map(u32::to_string).collect();
    Err(refused(format!("groups {}", list.join(", ")), error))
}

fn not_mapped(id: String) -> impl FnOnce(nix::errno::Errno) -> SetupError {
    move |error| refused(id, error)
}

fn refused(id: String, error: nix::errno::Errno) -> SetupError {
    if in_user_namespace() {
        SetupError::IdNotMapped { id }
    } else {
        step("run as", id)(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // conformance: D16
    #[test]
    fn capabilities_are_dockers() {
        assert_eq!(DEFAULT_CAPABILITIES.bits(), 0x0000_0000_a804_25fb);
    }
}
