//! The one way to start a process.
//!
//! Every process leads a group of its own, so that it and what it starts can be signalled together. Its
//! signal mask is empty and its signals do what they do by default. It inherits no descriptor of ours:
//! each is made close-on-exec. What our own caller left open for it passes through.
//!
//! What a process is to be (limits, root, identity) is set between fork and exec, privileges last, and read
//! back: a process that is not what it is to be is not started.

use spec::program::{Attributes, MOST_GROUPS, Program};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use engine::{SpawnError, SpawnErrorKind};
use rustix::io::fcntl_dupfd_cloexec;

use super::{descriptors, signals, terminal};
use spec::program::Pid;
use spec::text::describe;

/// Where an output goes.
#[derive(Debug)]
pub enum Output {
    /// Where ours goes.
    Inherit,
    /// Nowhere.
    Discard,
    /// Into this pipe.
    Pipe(OwnedFd),
}

impl From<Output> for Stdio {
    fn from(output: Output) -> Self {
        match output {
            Output::Inherit => Self::inherit(),
            Output::Discard => Self::null(),
            Output::Pipe(writer) => writer.into(),
        }
    }
}

/// What belongs to one start and not to the program.
#[derive(Debug)]
pub struct Start {
    /// Its standard output.
    pub stdout: Output,
    /// Its standard error.
    pub stderr: Output,
    /// It takes the terminal.
    pub foreground: bool,
    /// Its standard input is ours; else it is empty.
    pub stdin: bool,
    /// Variables of this start.
    pub variables: Vec<(&'static str, OsString)>,
    /// A descriptor that it gets under this number.
    pub descriptor: Option<(OwnedFd, RawFd)>,
    /// It does not execute after this (ns, `CLOCK_BOOTTIME`): it may not run any more then.
    pub not_after: Option<u64>,
    /// Files into which its own number is written before it executes: it joins these control groups.
    pub cgroup: Option<OwnedFd>,
}

impl Start {
    /// With these outputs, and nothing else that is special.
    #[must_use]
    pub const fn with(stdout: Output, stderr: Output) -> Self {
        Self {
            stdout,
            stderr,
            foreground: false,
            stdin: false,
            variables: Vec::new(),
            descriptor: None,
            not_after: None,
            cgroup: None,
        }
    }
}

/// What is done between fork and exec, in this order, so that a failure can be named.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Step {
    Cgroup = 1,
    Session,
    DeathSignal,
    OomScore,
    Limits,
    Nice,
    Mask,
    Root,
    Directory,
    ProcessTable,
    Group,
    User,
    Verify,
    NoNewPrivileges,
    Descriptor,
    Signals,
    Late,
}

impl Step {
    const ALL: [Self; 17] = [
        Self::Cgroup,
        Self::Session,
        Self::DeathSignal,
        Self::OomScore,
        Self::Limits,
        Self::Nice,
        Self::Mask,
        Self::Root,
        Self::Directory,
        Self::ProcessTable,
        Self::Group,
        Self::User,
        Self::Verify,
        Self::NoNewPrivileges,
        Self::Descriptor,
        Self::Signals,
        Self::Late,
    ];

    const fn what(self) -> &'static str {
        match self {
            Self::Descriptor => "cannot hand it a descriptor",
            Self::Cgroup => "cannot put it into its control group",
            Self::Session => "cannot make a session for it",
            Self::DeathSignal => "cannot arm its death signal",
            Self::OomScore => "cannot set oomScoreAdj",
            Self::Limits => "cannot set its limits (rlimits)",
            Self::Nice => "cannot set its priority (nice)",
            Self::Mask => "cannot set its umask",
            Self::Root => "cannot change its root directory (chroot)",
            Self::Directory => "cannot go to its working directory",
            Self::ProcessTable => "cannot set its supplementary groups",
            Self::Group => "cannot set its group (runAsGroup)",
            Self::User => "cannot set its user (runAsUser)",
            Self::Verify => "it still has the identity that it was to lose",
            Self::NoNewPrivileges => "cannot forbid it more privileges (allowPrivilegeEscalation)",
            Self::Signals => "cannot unblock its signals",
            Self::Late => "what it was to run by is ours no more",
        }
    }
}

/// Starts it, as execvp(3) does: a file that names no interpreter is the shell's. The process is there, and
/// executes the program, when this returns. The caller has to enter the number into its books before it reaps
/// again.
pub fn spawn(program: &Program, start: Start) -> Result<Pid, SpawnError> {
    let name = program.command.to_string_lossy();
    let system = |what: &str, error: &io::Error| SpawnError {
        kind: SpawnErrorKind::System,
        message: format!("cannot start '{name}': {what}: {}", describe(error)),
    };
    let mut command = Command::new(&program.command);
    command.args(&program.arguments).stdout(start.stdout).stderr(start.stderr);
    if !start.stdin {
        command.stdin(Stdio::null());
    }
    for variable in &program.without_variables {
        command.env_remove(variable);
    }
    command.envs(program.variables.iter().map(|(name, value)| (name, value)));
    command.envs(start.variables);
    if !program.attributes.setsid {
        command.process_group(0);
    }
    // The number that it is to get must not be that of a pipe by which a failure is told.
    let number = start.descriptor.as_ref().map(|(_, number)| *number);
    let reserved =
        number.map(|number| File::open("/dev/null").and_then(|null| Ok(fcntl_dupfd_cloexec(null, number)?)));
    let _reserved = reserved.transpose().map_err(|error| system("no descriptor", &error))?;
    let plan = Prepared::new(program, start.foreground, start.descriptor, start.cgroup);
    let plan = plan.map(|plan| Prepared { not_after: start.not_after, ..plan });
    let plan = plan.map_err(|error| system("a path holds a NUL", &error))?;
    // Which step has failed is told through a pipe; the standard library tells only why.
    let (reader, writer) = io::pipe().map_err(|error| system("no pipe", &error))?;
    rustix::io::ioctl_fionbio(&reader, true).map_err(|error| system("no pipe", &error.into()))?;
    let report = writer.as_raw_fd();
    let as_child = move || plan.carry_out(report);
    // SAFETY: the function only makes system calls that are safe after a fork (signal-safety(7)), and
    // allocates nothing.
    unsafe { command.pre_exec(as_child) };
    let child = command.spawn();
    drop(writer);
    let child = child.map_err(|error| {
        let mut step = [0];
        let failed = match rustix::io::read(&reader, &mut step) {
            Ok(1) => Step::ALL.into_iter().find(|known| *known as u8 == step[0]),
            _ => None,
        };
        match failed {
            Some(step) => SpawnError {
                // What is late once may be in time the next time.
                kind: if matches!(step, Step::Late) {
                    SpawnErrorKind::System
                } else {
                    SpawnErrorKind::NotExecutable
                },
                message: format!("cannot start '{name}': {}: {}", step.what(), describe(&error)),
            },
            None => failure(&program.command, &error),
        }
    })?;
    // The handle may go: dropping it neither waits nor kills.
    Pid::try_from(child.id()).map_err(|_| SpawnError {
        kind: SpawnErrorKind::System,
        message: "the process has no number".to_owned(),
    })
}

/// All that the child needs, made before the fork.
struct Prepared {
    attributes: Attributes,
    root: Option<CString>,
    directory: Option<CString>,
    oom_score: Option<String>,
    foreground: bool,
    descriptor: Option<(OwnedFd, RawFd)>,
    cgroup: Option<OwnedFd>,
    not_after: Option<u64>,
    parent: Pid,
}

impl Prepared {
    fn new(
        program: &Program,
        foreground: bool,
        descriptor: Option<(OwnedFd, RawFd)>,
        cgroup: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let path = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from);
        let mut attributes = program.attributes.clone();
        let nofile = libc::RLIMIT_NOFILE.cast_signed();
        if let Some((soft, hard)) = descriptors::for_processes()
            && !attributes.rlimits.iter().any(|(resource, _, _)| *resource == nofile)
        {
            attributes.rlimits.push((nofile, soft, hard));
        }
        Ok(Self {
            root: attributes.chroot.as_deref().map(path).transpose()?,
            directory: match (&program.directory, &attributes.chroot) {
                (Some(directory), _) => Some(path(directory)?),
                (None, Some(_)) => Some(path(Path::new("/"))?),
                (None, None) => None,
            },
            oom_score: attributes.oom_score_adj.map(|score| score.to_string()),
            attributes,
            foreground,
            descriptor,
            cgroup,
            not_after: None,
            parent: Pid::try_from(std::process::id()).unwrap_or(0),
        })
    }

    /// In the child. System calls only.
    fn carry_out(&self, report: RawFd) -> io::Result<()> {
        self.steps().map_err(|step| {
            let error = io::Error::last_os_error();
            let number = step as u8;
            // SAFETY: one byte of a local; the descriptor is the pipe's, open until the exec.
            unsafe { libc::write(report, (&raw const number).cast(), 1) };
            error
        })
    }

    fn steps(&self) -> Result<(), Step> {
        let ok = |result: libc::c_int, step| if result == 0 { Ok(()) } else { Err(step) };
        let attributes = &self.attributes;
        if self.foreground {
            terminal::take_as_child();
        }
        // SAFETY: each call is a system call that is safe after a fork; each pointer is to something that was
        // made before the fork and lives on.
        unsafe {
            if let Some(cgroup) = &self.cgroup
                && libc::write(cgroup.as_raw_fd(), b"0".as_ptr().cast(), 1) != 1
            {
                return Err(Step::Cgroup);
            }
            if attributes.setsid && libc::setsid() < 0 {
                return Err(Step::Session);
            }
            if let Some(score) = &self.oom_score {
                let file = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                let length = isize::try_from(score.len()).unwrap_or(-1);
                if file < 0 || libc::write(file, score.as_ptr().cast(), score.len()) != length {
                    return Err(Step::OomScore);
                }
            }
            for (resource, soft, hard) in &attributes.rlimits {
                let limit = libc::rlimit { rlim_cur: *soft, rlim_max: *hard };
                let resource = resource.cast_unsigned() as libc::__rlimit_resource_t;
                ok(libc::setrlimit(resource, &raw const limit), Step::Limits)?;
            }
            if let Some(nice) = attributes.nice {
                ok(libc::setpriority(libc::PRIO_PROCESS, 0, nice), Step::Nice)?;
            }
            if let Some(mask) = attributes.umask {
                libc::umask(mask);
            }
            if let Some(root) = &self.root {
                ok(libc::chroot(root.as_ptr()), Step::Root)?;
            }
            if let Some(groups) = &attributes.groups {
                ok(
                    libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) as libc::c_int,
                    Step::ProcessTable,
                )?;
            }
            if let Some(group) = attributes.group {
                ok(libc::syscall(libc::SYS_setresgid, group, group, group) as libc::c_int, Step::Group)?;
            }
            if let Some(user) = attributes.user {
                ok(libc::syscall(libc::SYS_setresuid, user, user, user) as libc::c_int, Step::User)?;
            }
            self.verify()?;
            if attributes.no_new_privileges {
                ok(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), Step::NoNewPrivileges)?;
            }
            // As the user that it is: what root may enter says nothing.
            if let Some(directory) = &self.directory {
                ok(libc::chdir(directory.as_ptr()), Step::Directory)?;
            }
            // Behind the change of identity, which clears it.
            if let Some(signal) = attributes.parent_death_signal {
                ok(libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0), Step::DeathSignal)?;
                if libc::getppid() != self.parent && self.parent != 1 {
                    return Err(Step::DeathSignal);
                }
            }
            // Last, since it may take the number of something that was needed until here.
            if let Some((descriptor, number)) = &self.descriptor {
                let from = descriptor.as_raw_fd();
                if from == *number {
                    ok(libc::fcntl(from, libc::F_SETFD, 0), Step::Descriptor)?;
                } else if libc::dup2(from, *number) < 0 {
                    return Err(Step::Descriptor);
                }
            }
        }
        signals::unblock_all().map_err(|_| Step::Signals)?;
        if let Some(not_after) = self.not_after {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: it writes to a local, and is safe after a fork.
            ok(unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) }, Step::Late)?;
            let now = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
            if now > not_after {
                // SAFETY: errno is this thread's own.
                unsafe { *libc::__errno_location() = libc::ETIMEDOUT };
                return Err(Step::Late);
            }
        }
        Ok(())
    }

    /// The identity is what it is to be, and there is no way back.
    fn verify(&self) -> Result<(), Step> {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        // SAFETY: the calls write to locals, within their sizes.
        unsafe {
            if let Some(groups) = &self.attributes.groups {
                let mut have = [0; MOST_GROUPS];
                let count =
                    libc::getgroups(libc::c_int::try_from(have.len()).unwrap_or(0), have.as_mut_ptr());
                let have = &have[..usize::try_from(count).unwrap_or(0)];
                let same = count >= 0 && have.iter().all(|group| groups.contains(group));
                if !same || !groups.iter().all(|group| have.contains(group)) {
                    return Err(Step::Verify);
                }
            }
            if let Some(group) = self.attributes.group {
                libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved);
                if [real, effective, saved] != [group; 3] {
                    return Err(Step::Verify);
                }
            }
            if let Some(user) = self.attributes.user {
                libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved);
                let to_user = user != 0 && libc::syscall(libc::SYS_setuid, 0) == 0;
                let lost_group = user != 0 && self.attributes.group.is_some_and(|group| group != 0);
                let back = to_user || (lost_group && libc::syscall(libc::SYS_setgid, 0) == 0);
                if [real, effective, saved] != [user; 3] || back {
                    return Err(Step::Verify);
                }
            }
        }
        Ok(())
    }
}

fn failure(command: &OsStr, error: &io::Error) -> SpawnError {
    let kind = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => SpawnErrorKind::NotFound,
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => SpawnErrorKind::System,
        _ => SpawnErrorKind::NotExecutable,
    };
    let name = command.to_string_lossy();
    let has_slash = name.contains('/');
    let why = match kind {
        SpawnErrorKind::NotFound if has_slash && fs::metadata(Path::new(command)).is_ok() => {
            "the file is there, but the interpreter or loader that it names is not".to_owned()
        }
        SpawnErrorKind::NotFound if has_slash => "no such file".to_owned(),
        SpawnErrorKind::NotFound if name.is_empty() => "its name is empty".to_owned(),
        SpawnErrorKind::NotFound => "no such program in PATH".to_owned(),
        SpawnErrorKind::NotExecutable | SpawnErrorKind::System => describe(error),
    };
    SpawnError { kind, message: format!("cannot start '{name}': {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_late_is_not_executed() {
        let directory = testkit::private_directory();
        let file = directory.path().join("made");
        let program =
            Program { command: "touch".into(), arguments: vec![file.clone().into()], ..Program::default() };
        let mut start = Start::with(Output::Discard, Output::Discard);
        // A nanosecond after the machine was started.
        start.not_after = Some(1);
        let error = spawn(&program, start).err();
        assert!(
            error.as_ref().is_some_and(|error| error.kind == SpawnErrorKind::System
                && error.message.contains("what it was to run by is ours no more")),
            "{error:?}"
        );
        assert!(!file.exists());
    }
}
