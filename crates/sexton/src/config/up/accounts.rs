//! Users and groups by name: passwd(5) and group(5), read directly, since the C library's own look-up needs
//! shared libraries that a static program does not have.

use std::fs;

/// A user as `/etc/passwd` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    /// Its primary group, if the file knows it.
    pub(super) gid: Option<u32>,
}

/// A user by number or name.
pub(super) fn user(word: &str) -> Result<User, String> {
    user_in(word, &fs::read_to_string("/etc/passwd").unwrap_or_default())
}

/// A group by number or name.
pub(super) fn group(word: &str) -> Result<u32, String> {
    group_in(word, &fs::read_to_string("/etc/group").unwrap_or_default())
}

fn user_in(word: &str, passwd: &str) -> Result<User, String> {
    let entries = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse::<u32>().ok()?;
        let gid = fields.next()?.parse::<u32>().ok()?;
        Some((name, uid, gid))
    });
    let number = word.parse::<u32>().ok();
    let known = entries.into_iter().find(|(name, uid, _)| *name == word || Some(*uid) == number);
    match (known, number) {
        (Some((_, uid, gid)), _) => Ok(User { uid, gid: Some(gid) }),
        (None, Some(uid)) => Ok(User { uid, gid: None }),
        (None, None) => Err(format!("there is no user '{word}' in /etc/passwd: expected a name or a number")),
    }
}

fn group_in(word: &str, groups: &str) -> Result<u32, String> {
    if let Ok(gid) = word.parse() {
        return Ok(gid);
    }
    let mut entries = groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse::<u32>().ok()?))
    });
    let known = entries.find(|(name, _)| *name == word).map(|(_, gid)| gid);
    known.ok_or_else(|| format!("there is no group '{word}' in /etc/group: expected a name or a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_number_and_by_name() {
        let passwd = "root:x:0:0::/:/bin/sh\nbroken\nwww:x:33:44:www:/:/bin/false\n";
        assert_eq!(user_in("www", passwd), Ok(User { uid: 33, gid: Some(44) }));
        assert_eq!(user_in("33", passwd), Ok(User { uid: 33, gid: Some(44) }));
        assert_eq!(user_in("7", passwd), Ok(User { uid: 7, gid: None }));
        assert!(user_in("nobody-here", passwd).is_err());
        assert_eq!(group_in("adm", "root:x:0:\nadm:x:4:a,b\n"), Ok(4));
        assert_eq!(group_in("12", ""), Ok(12));
        assert!(group_in("none", "").is_err());
    }
}
