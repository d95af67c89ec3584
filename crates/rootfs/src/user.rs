//! User and group names as the image's own files define them (conformance D11-D15, E27, E28).

use std::collections::BTreeSet;

/// Ids beyond this cannot be used (the kernel keeps -1 for "unchanged").
const MAX_ID: u32 = u32::MAX - 1;

/// Who a RUN runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// Its first group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Home directory from the image's passwd file (D3).
    pub home: String,
}

/// A user or group that the image does not know, or that is no id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserError {
    /// The name is not in the image's passwd file (D13).
    #[error("unable to find user {name}: no matching entries in passwd file")]
    UnknownUser {
        /// The name as written.
        name: String,
    },
    /// The name is not in the image's group file (D15).
    #[error("unable to find group {name}: no matching entries in group file")]
    UnknownGroup {
        /// The name as written.
        name: String,
    },
    /// A number that no id can have (D15).
    #[error("`{id}` is out of range for a user or group id")]
    OutOfRange {
        /// The number as written.
        id: String,
    },
}

/// The image's `/etc/passwd` and `/etc/group`; both may be missing.
#[derive(Debug, Default)]
pub struct Accounts {
    passwd: Vec<PasswdLine>,
    group: Vec<GroupLine>,
}

#[derive(Debug)]
struct PasswdLine {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Debug)]
struct GroupLine {
    name: String,
    gid: u32,
    members: BTreeSet<String>,
}

impl Accounts {
    /// Reads both files; malformed lines are skipped (D11).
    pub fn parse(passwd: &[u8], group: &[u8]) -> Accounts {
        let lines = |text: &[u8]| -> Vec<String> {
            String::from_utf8_lossy(text)
                .lines()
                .map(|line| line.trim_end_matches('\r').to_owned())
                .collect()
        };
        let passwd = lines(passwd)
            .iter()
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                let home = fields.nth(1).unwrap_or_default().to_owned();
                Some(PasswdLine {
                    name,
                    uid,
                    gid,
                    home,
                })
            })
            .collect();
        let group = lines(group)
            .iter()
            .filter_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
                let gid = fields.nth(1)?.parse().ok()?;
                let members = fields.next().unwrap_or_default().split(',');
                let members = members.filter(|m| !m.is_empty()).map(str::to_owned);
                Some(GroupLine {
                    name,
                    gid,
                    members: members.collect(),
                })
            })
            .collect();
        Accounts { passwd, group }
    }

    /// Whether `user` as USER or `--chown` writes it needs the files at all (E28).
    pub fn needed_for(user: &str) -> bool {
        user.split(':')
            .any(|part| !part.is_empty() && parse_id(part).is_none())
    }

    /// Resolves the text of a USER instruction for a RUN.
    pub fn identity(&self, user: &str) -> Result<Identity, UserError> {
        let (name, group) = match user.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (user, None),
        };
        let known = self.user(name)?;
        let uid = match (&known, parse_id(name)) {
            (_, Some(id)) => id?,
            (Some(line), None) => line.uid,
            (None, None) => 0,
        };
        let home = known
            .map(|line| line.home.as_str())
            .filter(|home| !home.is_empty())
            .unwrap_or("/")
            .to_owned();
        if let Some(group) = group.filter(|group| !group.is_empty()) {
            let gid = self.group_id(group)?;
            return Ok(Identity {
                uid,
                gid,
                groups: vec![gid],
                home,
            });
        }
        let gid = known.map_or(0, |line| line.gid);
        let mut groups = vec![gid];
        if let Some(line) = known {
            let listed = self.group.iter().filter(|g| g.members.contains(&line.name));
            groups.extend(listed.map(|g| g.gid).filter(|id| *id != gid));
        }
        Ok(Identity {
            uid,
            gid,
            groups,
            home,
        })
    }

    /// Resolves a `--chown` value: `name`, `id`, `:group`, `user:group` (E27).
    pub fn owner(&self, chown: &str) -> Result<(u32, u32), UserError> {
        let (name, group) = match chown.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (chown, None),
        };
        let uid = match parse_id(name) {
            Some(id) => id?,
            None => self.user(name)?.map_or(0, |line| line.uid),
        };
        let gid = match group.filter(|group| !group.is_empty()) {
            Some(group) => self.group_id(group)?,
            // A number without a group stands for both ids; a name brings its primary group.
            None => match parse_id(name) {
                Some(id) => id?,
                None => self.user(name)?.map_or(0, |line| line.gid),
            },
        };
        Ok((uid, gid))
    }

    /// The passwd line of a name or uid; an empty name is root.
    fn user(&self, name: &str) -> Result<Option<&PasswdLine>, UserError> {
        if name.is_empty() {
            return Ok(self.passwd.iter().find(|line| line.uid == 0));
        }
        if let Some(id) = parse_id(name) {
            let id = id?;
            return Ok(self.passwd.iter().find(|line| line.uid == id));
        }
        match self.passwd.iter().find(|line| line.name == name) {
            Some(line) => Ok(Some(line)),
            // An image without passwd file still has a root.
            None if name == "root" => Ok(None),
            None => Err(UserError::UnknownUser {
                name: name.to_owned(),
            }),
        }
    }

    fn group_id(&self, group: &str) -> Result<u32, UserError> {
        if let Some(id) = parse_id(group) {
            return id;
        }
        match self.group.iter().find(|line| line.name == group) {
            Some(line) => Ok(line.gid),
            None if group == "root" => Ok(0),
            None => Err(UserError::UnknownGroup {
                name: group.to_owned(),
            }),
        }
    }
}

/// Digits are always an id, never a name (D12).
fn parse_id(text: &str) -> Option<Result<u32, UserError>> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let id = text.parse().ok().filter(|id| *id <= MAX_ID);
    Some(id.ok_or_else(|| UserError::OutOfRange {
        id: text.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nbroken\nbob:x:1000:1001::/home/bob:/bin/sh\nbob:x:5:5::/other:/x\n";
        let group = b"root:x:0:\nbob:x:1001:\naudio:x:29:alice,bob\nbad\nvideo:x:44:bob\n";
        Accounts::parse(passwd, group)
    }

    // conformance: D3 D11 D12 D14
    #[test]
    fn run_users_are_resolved_in_the_image() {
        let cases: [(&str, u32, u32, &[u32], &str); 7] = [
            ("", 0, 0, &[0], "/root"),
            ("root", 0, 0, &[0], "/root"),
            ("1234", 1234, 0, &[0], "/"),
            ("bob", 1000, 1001, &[1001, 29, 44], "/home/bob"),
            ("1000", 1000, 1001, &[1001, 29, 44], "/home/bob"),
            ("bob:audio", 1000, 29, &[29], "/home/bob"),
            ("1234:55", 1234, 55, &[55], "/"),
        ];
        for (user, uid, gid, groups, home) in cases {
            let found = accounts().identity(user).unwrap();
            assert_eq!((found.uid, found.gid), (uid, gid), "{user}");
            assert_eq!(found.groups, groups, "{user}");
            assert_eq!(found.home, home, "{user}");
        }
    }

    // conformance: D13 D15
    #[test]
    fn unknown_names_are_refused_and_numbers_need_no_files() {
        let none = Accounts::default();
        assert_eq!(none.identity("7:8").unwrap().gid, 8);
        assert_eq!(none.identity("root").unwrap().uid, 0);
        assert_eq!(
            none.identity("x").unwrap_err().to_string(),
            "unable to find user x: no matching entries in passwd file"
        );
        assert!(none.identity("0:x").is_err());
        for range in ["4294967295", "0:4294967295", "99999999999"] {
            let error = none.identity(range).unwrap_err();
            assert!(matches!(error, UserError::OutOfRange { .. }), "{range}");
        }
        let error = accounts().identity("bob:nobodies").unwrap_err();
        assert_eq!(
            error.to_string(),
            "unable to find group nobodies: no matching entries in group file"
        );
        assert!(!Accounts::needed_for("7:8"));
        assert!(Accounts::needed_for("7:staff"));
    }

    // conformance: E27 E28
    #[test]
    fn chown_values_give_both_ids() {
        let cases = [
            ("33", (33, 33)),
            (":8", (0, 8)),
            ("bob", (1000, 1001)),
            ("bob:audio", (1000, 29)),
            ("7:bob", (7, 1001)),
        ];
        for (chown, expected) in cases {
            assert_eq!(accounts().owner(chown).unwrap(), expected, "{chown}");
        }
        for (unknown, file) in [("nobody-here", "passwd"), ("bob:nobodies", "group")] {
            let error = accounts().owner(unknown).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
        }
        assert_eq!(Accounts::default().owner("7:8").unwrap(), (7, 8));
        assert!(!Accounts::needed_for("7:8") && !Accounts::needed_for(":8"));
    }
}
