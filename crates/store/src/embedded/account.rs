//! The user that the server runs as.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use tokio::process::Command;

use super::error::{Error, Result, io_at};

/// Who runs the server. PostgreSQL refuses root, so root hands it to another user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    /// User and group id; none = whoever runs this program.
    other: Option<(u32, u32)>,
}

impl Account {
    /// The owner of the data directory where there is one, else `postgres`, else `nobody`: initdb
    /// wants a user that has a name.
    pub(super) fn of(data: &Path) -> Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self { other: None });
        }
        if let Ok(m) = fs::metadata(data)
            && m.uid() != 0
        {
            return Ok(Self { other: Some((m.uid(), m.gid())) });
        }
        let users = fs::read_to_string("/etc/passwd").map_err(io_at("read", Path::new("/etc/passwd")))?;
        let other = ["postgres", "nobody"].iter().find_map(|name| ids_of(&users, name));
        Ok(Self { other: Some(other.ok_or(Error::NoAccount)?) })
    }

    /// Makes `command` run as this user.
    pub(super) fn apply(self, command: &mut Command) {
        if let Some((uid, gid)) = self.other {
            // The supplementary groups of root are dropped with it by the standard library.
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file or directory to this user.
    pub(super) fn own(self, path: &Path) -> Result<()> {
        let Some((uid, gid)) = self.other else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).map_err(io_at("give away", path))
    }

    /// Whether `uid` is this user or the one that runs the program.
    pub(super) fn is(self, uid: u32) -> bool {
        uid == rustix::process::geteuid().as_raw() || self.other.is_some_and(|(other, _)| other == uid)
    }

    /// Holds that this user can walk to `root`. `root` itself and `home` are opened to passers-by
    /// (0711) where they are closed; what lies inside them stays closed by its own mode.
    pub(super) fn open_way(self, root: &Path, home: Option<&Path>) -> Result<()> {
        let Some((uid, _)) = self.other else { return Ok(()) };
        let home = home.and_then(|h| fs::canonicalize(h).ok());
        for dir in root.ancestors() {
            let meta = fs::metadata(dir).map_err(io_at("look at", dir))?;
            let mode = meta.permissions().mode();
            if mode & if meta.uid() == uid { 0o100 } else { 0o001 } != 0 {
                continue;
            }
            if dir != root && Some(dir) != home.as_deref() {
                return Err(Error::Closed { closed: dir.to_owned(), root: root.to_owned() });
            }
            fs::set_permissions(dir, fs::Permissions::from_mode(mode | 0o011)).map_err(io_at("open", dir))?;
        }
        Ok(())
    }
}

fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        found.then_some((uid, gid))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8::/:/bin/sh\n+::::::\npostgres:x:101:104:a:/b:/c\n";
        assert_eq!(ids_of(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids_of(passwd, "nobody"), None);
    }
}
