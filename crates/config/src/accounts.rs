//! Users and groups by name: reads passwd(5) and group(5) directly, because the look-up of the C library needs shared
//! libraries that a static program does not have.

use std::fs;

/// A user of `/etc/passwd`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    /// The primary group, if the user is in the file.
    pub(crate) gid: Option<u32>,
    /// The home directory; `/` if the user is not in the file.
    pub(crate) home: String,
}

/// Looks up a user by number or name.
pub(crate) fn user(word: &str) -> Result<User, String> {
    user_in(word, &fs::read_to_string("/etc/passwd").unwrap_or_default())
}

/// Looks up a group by number or name.
pub(crate) fn group(word: &str) -> Result<u32, String> {
    group_in(word, &fs::read_to_string("/etc/group").unwrap_or_default())
}

/// Resolves `USER` or `USER:GROUP`, each a number or a name, to the user ID and group ID.
pub(crate) fn user_and_group(text: &str) -> Result<(u32, u32), String> {
    let (name, group_name) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let User { uid, gid, .. } = user(name)?;
    let gid = match group_name {
        Some(name) => Some(group(name)?),
        None => gid,
    };
    Ok((uid, gid.ok_or_else(|| format!("unknown group of user '{name}': expected USER:GROUP"))?))
}

fn user_in(word: &str, passwd: &str) -> Result<User, String> {
    let entries = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse::<u32>().ok()?;
        let gid = fields.next()?.parse::<u32>().ok()?;
        let home = fields.nth(1).filter(|home| !home.is_empty()).unwrap_or("/");
        Some((name, User { uid, gid: Some(gid), home: home.to_owned() }))
    });
    let number = word.parse::<u32>().ok();
    let known = entries.into_iter().find(|(name, user)| *name == word || Some(user.uid) == number);
    match (known, number) {
        (Some((_, user)), _) => Ok(user),
        (None, Some(uid)) => Ok(User { uid, gid: None, home: "/".to_owned() }),
        (None, None) => Err(format!("unknown user '{word}' in /etc/passwd: expected a name or a number")),
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
    known.ok_or_else(|| format!("unknown group '{word}' in /etc/group: expected a name or a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_up_users_and_groups_by_number_and_name() {
        let passwd = "root:x:0:0::/:/bin/sh\nbroken\nwww:x:33:44:www:/var/www:/bin/false\n";
        let www = User { uid: 33, gid: Some(44), home: "/var/www".to_owned() };
        assert_eq!(user_in("www", passwd), Ok(www.clone()));
        assert_eq!(user_in("33", passwd), Ok(www));
        assert_eq!(user_in("7", passwd), Ok(User { uid: 7, gid: None, home: "/".to_owned() }));
        assert!(user_in("nobody-here", passwd).is_err());
        assert_eq!(group_in("adm", "root:x:0:\nadm:x:4:a,b\n"), Ok(4));
        assert_eq!(group_in("12", ""), Ok(12));
        assert!(group_in("none", "").is_err());
    }
}
