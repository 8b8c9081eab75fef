//! Control groups (cgroup v2), where a part of their tree is ours: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
//!
//! Each run gets a group of its own. Nobody leaves it by forking or by a new session, so that all of a run can be
//! found and killed; and the kernel keeps its memory and processors within limits, where it has the controllers.
//!
//! ```text
//! our group (delegated to us)
//! ├── sexton-PID           ourselves: a group with controllers for others must have no processes itself
//! ├── sexton-PID-web.3     a run
//! └── sexton-PID-worker.7
//! ```
//!
//! A group is taken for ours if we are PID 1 of a container, if its owner is our user and that is not root, or if
//! systemd says so (`Delegate=`, the attribute `user.delegate`). `SEXTON_CGROUP` says `on` or `off` in spite of that.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use engine::{RunId, Signal};
use rustix::process::{Pid as RustixPid, PidfdFlags, pidfd_open, pidfd_send_signal};

use spec::environment::Environment;
use spec::program::Pid;

/// The groups that are ours.
#[derive(Debug)]
pub struct Cgroups {
    own: PathBuf,
    /// Where we ourselves are.
    leaf: PathBuf,
    memory: bool,
    cpu: bool,
}

/// The group of a run.
#[derive(Debug)]
pub struct RunGroup {
    path: PathBuf,
    /// The kernel keeps its memory within the limit.
    pub limits_memory: bool,
}

impl Cgroups {
    /// The groups that are ours, if there are any.
    #[must_use]
    pub fn find(environment: &dyn Environment) -> Option<Self> {
        let wanted = environment.get("SEXTON_CGROUP").map(|word| word.to_string_lossy().into_owned());
        let own = own_group()?;
        let ours = match wanted.as_deref() {
            Some("off") => false,
            Some("on") => true,
            _ => std::process::id() == 1 || is_delegated(&own),
        };
        if !ours {
            return None;
        }
        match Self::begin(own) {
            Ok(this) => Some(this),
            Err(error) => {
                log::info!("no control groups: {error}");
                None
            }
        }
    }

    fn begin(own: PathBuf) -> io::Result<Self> {
        let leaf = own.join(format!("sexton-{}", std::process::id()));
        fs::create_dir(&leaf)?;
        let mut this = Self { own, leaf, memory: false, cpu: false };
        let controllers = fs::read_to_string(this.own.join("cgroup.controllers")).unwrap_or_default();
        let has = |name: &str| controllers.split_ascii_whitespace().any(|it| it == name);
        if has("memory") || has("cpu") {
            write(&this.leaf.join("cgroup.procs"), "0")?;
            // Others may be in our group beside us: then the kernel refuses, and we go without limits.
            this.memory = has("memory") && write(&this.own.join("cgroup.subtree_control"), "+memory").is_ok();
            this.cpu = has("cpu") && write(&this.own.join("cgroup.subtree_control"), "+cpu").is_ok();
        }
        Ok(this)
    }

    /// Does the kernel keep processors within limits?
    #[must_use]
    pub const fn limits_processors(&self) -> bool {
        self.cpu
    }

    /// Makes the group of a run.
    pub fn make(
        &self,
        name: &str,
        run: RunId,
        memory: Option<u64>,
        cpu: Option<f64>,
    ) -> io::Result<RunGroup> {
        let path = self.own.join(format!("sexton-{}-{name}.{}", std::process::id(), run.0));
        fs::create_dir(&path)?;
        let mut group = RunGroup { path, limits_memory: false };
        if let (Some(bytes), true) = (memory, self.memory) {
            write(&group.path.join("memory.max"), &bytes.to_string())?;
            // All of it goes together, as with the kubelet.
            let _ = write(&group.path.join("memory.oom.group"), "1");
            let _ = write(&group.path.join("memory.swap.max"), "0");
            group.limits_memory = true;
        }
        if let (Some(processors), true) = (cpu, self.cpu) {
            const PERIOD: f64 = 100_000.0;
            write(
                &group.path.join("cpu.max"),
                &format!("{:.0} {PERIOD:.0}", (processors * PERIOD).max(1000.0)),
            )?;
        }
        Ok(group)
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if self.memory {
            let _ = write(&self.own.join("cgroup.subtree_control"), "-memory");
        }
        if self.cpu {
            let _ = write(&self.own.join("cgroup.subtree_control"), "-cpu");
        }
        let _ = write(&self.own.join("cgroup.procs"), "0");
        let _ = fs::remove_dir(&self.leaf);
    }
}

impl RunGroup {
    /// To be written to by a process that is to be in it.
    pub fn entry(&self) -> io::Result<OwnedFd> {
        Ok(File::options().write(true).open(self.path.join("cgroup.procs"))?.into())
    }

    /// Is anybody in it?
    #[must_use]
    pub fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Has the kernel killed somebody in it because its memory was at its limit?
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        events.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count != "0")
    }

    /// Sends a signal to those who are in it and not in this process group, whose members have had it.
    pub fn signal_beside(&self, group: Pid, signal: Signal) {
        if signal == Signal::KILL && write(&self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for pid in self.members() {
            if super::ids::group_of(pid) == Some(group) {
                continue;
            }
            // Held first, and looked for again: the number cannot have become somebody else's in between.
            let held = RustixPid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
            if let (Some(Ok(held)), true) = (held, self.members().contains(&pid))
                && let Some(number) = rustix::process::Signal::from_named_raw(signal.0)
            {
                let _ = pidfd_send_signal(held, number);
            }
        }
    }

    fn members(&self) -> Vec<Pid> {
        let list = fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default();
        list.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
    }
}

impl Drop for RunGroup {
    fn drop(&mut self) {
        // One that is not empty stays: something in it could not be ended.
        let _ = fs::remove_dir(&self.path);
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// The directory of the group that we are in.
fn own_group() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    group_in(&mounts, &own).filter(|path| path.join("cgroup.procs").exists())
}

fn group_in(mounts: &str, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (root, point) = mounts.lines().find_map(|line| {
        let (front, back) = line.split_once(" - ")?;
        let mut fields = front.split(' ');
        back.starts_with("cgroup2 ").then(|| Some((fields.nth(3)?, fields.next()?)))?
    })?;
    let inside = if root == "/" { path } else { path.strip_prefix(root)? };
    Some(Path::new(point).join(inside.trim_start_matches('/')))
}

fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 8];
    let said = rustix::fs::getxattr(group, "user.delegate", value.as_mut_slice())
        .is_ok_and(|length| &value[..length] == b"1");
    let user = rustix::process::geteuid().as_raw();
    said || (user != 0 && fs::metadata(group).is_ok_and(|metadata| metadata.uid() == user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_group_is_found_in_pure_hybrid_and_nested_trees() {
        let pure = "25 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n";
        assert_eq!(group_in(pure, "0::/user.slice/a\n"), Some("/sys/fs/cgroup/user.slice/a".into()));
        let hybrid = "30 1 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n31 1 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(group_in(hybrid, "4:memory:/x\n0::/\n"), Some("/sys/fs/cgroup/unified".into()));
        let nested = "31 1 0:26 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(group_in(nested, "0::/docker/1/a\n"), Some("/sys/fs/cgroup/a".into()));
        assert_eq!(group_in(nested, "0::/elsewhere\n"), None);
        assert_eq!(group_in("", "0::/\n"), None);
    }
}
