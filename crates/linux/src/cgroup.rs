//! Control groups (cgroup v2), where a subtree is delegated: cgroups(7), Documentation/admin-guide/cgroup-v2.rst.
//!
//! Each run gets its own group. A process cannot leave it by forking or by creating a session, so all processes of the
//! run can be found and killed; and the kernel enforces memory and CPU limits, where the controllers are available.
//!
//! ```text
//! own group (delegated)
//! ├── sexton-PID           sexton: a group that has controllers enabled for its children must not contain processes
//! ├── sexton-PID-web.3     a run
//! └── sexton-PID-worker.7
//! ```
//!
//! A group counts as delegated if sexton is PID 1 of a container, if its owner is the user of sexton and not root, or
//! if systemd marks it (`Delegate=`, attribute `user.delegate`). `SEXTON_CGROUP=on` or `off` overrides this.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use engine::{RunId, Signal};
use rustix::process::{Pid as RustixPid, PidfdFlags, pidfd_open, pidfd_send_signal};

use spec::environment::Environment;
use spec::program::Pid;

/// The delegated control groups.
#[derive(Debug)]
pub struct Cgroups {
    own: PathBuf,
    /// The group of sexton itself.
    leaf: PathBuf,
    memory: bool,
    cpu: bool,
}

/// The control group of a run.
#[derive(Debug)]
pub struct RunGroup {
    path: PathBuf,
    /// Whether the kernel enforces its memory limit.
    pub limits_memory: bool,
}

impl Cgroups {
    /// The delegated groups, if there are any.
    #[must_use]
    pub fn find(environment: &dyn Environment) -> Option<Self> {
        let wanted = environment.get("SEXTON_CGROUP").map(|word| word.to_string_lossy().into_owned());
        let own = own_group()?;
        let usable = match wanted.as_deref() {
            Some("off") => false,
            Some("on") => true,
            _ => std::process::id() == 1 || is_delegated(&own),
        };
        if !usable {
            return None;
        }
        match Self::prepare(own) {
            Ok(this) => Some(this),
            Err(error) => {
                log::info!("control groups disabled: {error}");
                None
            }
        }
    }

    fn prepare(own: PathBuf) -> io::Result<Self> {
        let leaf = own.join(format!("sexton-{}", std::process::id()));
        fs::create_dir(&leaf)?;
        let mut this = Self { own, leaf, memory: false, cpu: false };
        let controllers = fs::read_to_string(this.own.join("cgroup.controllers")).unwrap_or_default();
        let has = |name: &str| controllers.split_ascii_whitespace().any(|it| it == name);
        if has("memory") || has("cpu") {
            write(&this.leaf.join("cgroup.procs"), "0")?;
            // If other processes share the group, the kernel refuses: then there are no limits.
            this.memory = has("memory") && write(&this.own.join("cgroup.subtree_control"), "+memory").is_ok();
            this.cpu = has("cpu") && write(&this.own.join("cgroup.subtree_control"), "+cpu").is_ok();
        }
        Ok(this)
    }

    /// Whether the kernel enforces CPU limits.
    #[must_use]
    pub const fn limits_processors(&self) -> bool {
        self.cpu
    }

    /// Creates the group of a run.
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
            // The out-of-memory killer kills the complete group, as with the kubelet.
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
    /// The file that a process writes to in order to join the group.
    pub fn entry(&self) -> io::Result<OwnedFd> {
        Ok(File::options().write(true).open(self.path.join("cgroup.procs"))?.into())
    }

    /// Whether a process is in it.
    #[must_use]
    pub fn is_populated(&self) -> bool {
        let events = fs::read_to_string(self.path.join("cgroup.events")).unwrap_or_default();
        events.lines().any(|line| line == "populated 1")
    }

    /// Whether the kernel has killed a process in it because the memory limit was reached.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        events.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count != "0")
    }

    /// Sends a signal to the processes that are not in this process group, whose members have already had it.
    pub fn signal_outside_group(&self, group: Pid, signal: Signal) {
        if signal == Signal::KILL && write(&self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for pid in self.members() {
            if super::ids::group_of(pid) == Some(group) {
                continue;
            }
            // A pidfd is opened before the second look at the members: the ID cannot have been reused in between.
            let pidfd = RustixPid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
            if let (Some(Ok(pidfd)), true) = (pidfd, self.members().contains(&pid))
                && let Some(number) = rustix::process::Signal::from_named_raw(signal.0)
            {
                let _ = pidfd_send_signal(pidfd, number);
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
        // Fails if it is not empty: a process in it could not be stopped.
        let _ = fs::remove_dir(&self.path);
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// The directory of the group of sexton.
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
    let marked = rustix::fs::getxattr(group, "user.delegate", value.as_mut_slice())
        .is_ok_and(|length| &value[..length] == b"1");
    let user = rustix::process::geteuid().as_raw();
    marked || (user != 0 && fs::metadata(group).is_ok_and(|metadata| metadata.uid() == user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_own_group_in_pure_hybrid_and_nested_trees() {
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
