//! The graveyard directory, shared by the containers of a pod.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

/// Creates the directory unless it exists; an existing one is not changed.
pub fn create(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(mode).create(path) {
        // The umask may have removed mode bits.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        // Another process has created it in between and sets its mode.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// The type of the file system, if it does not reliably report changes and locks of other kernels (network and overlay
/// file systems); magic numbers as in statfs(2).
#[must_use]
pub fn unreliable_filesystem(path: &Path) -> Option<&'static str> {
    const KINDS: [(u32, &str); 9] = [
        (0x0102_1997, "9p"),
        (0x794c_7630, "overlay"),
        (0x6573_5546, "FUSE"),
        (0x6969, "NFS"),
        (0xff53_4d42, "CIFS"),
        (0xfe53_4d42, "SMB"),
        (0x517b, "SMB"),
        (0x00c3_6400, "Ceph"),
        (0x5346_414f, "AFS"),
    ];
    let magic = rustix::fs::statfs(path).ok()?.f_type;
    KINDS.iter().find(|(number, _)| i64::from(*number) == magic).map(|(_, name)| *name)
}
