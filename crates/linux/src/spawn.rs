//! Process start; the only module that forks.
//!
//! Every process leads a process group of its own, so that it and its descendants can be signalled together. Its signal
//! mask is empty and its signals have their default actions. It inherits no descriptor that sexton has opened: all are
//! close-on-exec. Descriptors that the caller of sexton left open pass through.
//!
//! Attributes of the process (limits, root, identity) are set between fork and exec, privileges last, and verified: a
//! process that does not have them is not started.
#![allow(unsafe_code)]

use spec::program::{Attributes, MAX_GROUPS, Program};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::ptr;

use engine::{SpawnError, SpawnErrorKind};
use rustix::fs::{Gid, Uid};
use rustix::io::fcntl_dupfd_cloexec;

use super::{descriptors, exec, signals, terminal};
use spec::program::Pid;
use spec::text::describe;

/// The destination of an output stream.
#[derive(Debug)]
pub enum Output {
    /// The same as that of sexton.
    Inherit,
    /// `/dev/null`.
    Discard,
    /// This pipe.
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

/// Parameters of one start, as opposed to those of the program.
#[derive(Debug)]
pub struct Start {
    pub stdout: Output,
    pub stderr: Output,
    /// It becomes the foreground job of the terminal.
    pub foreground: bool,
    /// It inherits standard input; otherwise standard input is empty.
    pub stdin: bool,
    /// Environment variables of this start.
    pub variables: Vec<(&'static str, OsString)>,
    /// A descriptor for it, and the number that it gets.
    pub descriptor: Option<(OwnedFd, RawFd)>,
    /// The exec is refused after this time (ns, `CLOCK_BOOTTIME`): the lease has expired then.
    pub not_after: Option<u64>,
    /// The `cgroup.procs` file of the control group that it joins before exec.
    pub cgroup: Option<OwnedFd>,
}

impl Start {
    /// A start with these outputs and defaults otherwise.
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

/// The steps between fork and exec, for error messages.
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
    Groups,
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
        Self::Groups,
        Self::Group,
        Self::User,
        Self::Verify,
        Self::NoNewPrivileges,
        Self::Descriptor,
        Self::Signals,
        Self::Late,
    ];

    /// What has failed, with the path that it is about.
    fn subject(self, program: &Program) -> String {
        let path = match self {
            Self::Directory => program.directory.as_deref(),
            Self::Root => program.attributes.chroot.as_deref(),
            _ => None,
        };
        path.map_or_else(
            || self.description().to_owned(),
            |path| format!("{} '{}'", self.description(), path.display()),
        )
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Descriptor => "cannot pass a descriptor to it",
            Self::Cgroup => "cannot put it into its control group",
            Self::Session => "cannot create a session for it",
            Self::DeathSignal => "cannot set its parent death signal",
            Self::OomScore => "cannot set oomScoreAdj",
            Self::Limits => "cannot set its resource limits (rlimits)",
            Self::Nice => "cannot set its priority (nice)",
            Self::Mask => "cannot set its umask",
            Self::Root => "cannot change its root directory (chroot)",
            Self::Directory => "cannot change to its working directory",
            Self::Groups => "cannot set its supplementary groups",
            Self::Group => "cannot set its group (runAsGroup)",
            Self::User => "cannot set its user (runAsUser)",
            Self::Verify => "verification failed: it still has its former identity",
            Self::NoNewPrivileges => "cannot set no_new_privs (allowPrivilegeEscalation: false)",
            Self::Signals => "cannot unblock its signals",
            Self::Late => "the lease has expired",
        }
    }
}

/// Starts a process as execvp(3) does: a text file without an interpreter is run by the shell. On success the child has
/// executed the program. The caller must add it to the process table before the next reap.
pub fn spawn(program: &Program, start: Start) -> Result<Pid, SpawnError> {
    let name = program.command.to_string_lossy();
    let system = |description: &str, error: &io::Error| SpawnError {
        kind: SpawnErrorKind::System,
        message: format!("cannot start '{name}': {description}: {}", describe(error)),
    };
    give_pipes(&start, &program.attributes);
    let image = Image::new(program, &start.variables);
    let mut image = image.map_err(|error| system("an argument or variable contains a NUL byte", &error))?;
    // The standard library forks and sets up the standard streams; the exec is that of the image.
    let mut command = Command::new(&program.command);
    command.stdout(start.stdout).stderr(start.stderr);
    if !start.stdin {
        command.stdin(Stdio::null());
    }
    if !program.attributes.setsid {
        command.process_group(0);
    }
    // The pipe that reports a failure must not get the number that is reserved for the descriptor.
    let number = start.descriptor.as_ref().map(|(_, number)| *number);
    let reserved =
        number.map(|number| File::open("/dev/null").and_then(|null| Ok(fcntl_dupfd_cloexec(null, number)?)));
    let _reserved = reserved.transpose().map_err(|error| system("cannot reserve a descriptor", &error))?;
    let plan = Prepared::new(program, start.foreground, start.descriptor, start.cgroup);
    let plan = plan.map(|plan| Prepared { not_after: start.not_after, ..plan });
    let plan = plan.map_err(|error| system("a path contains a NUL byte", &error))?;
    // The failed step is reported through a pipe; the standard library only reports the error number.
    let (reader, writer) = io::pipe().map_err(|error| system("cannot create a pipe", &error))?;
    rustix::io::ioctl_fionbio(&reader, true)
        .map_err(|error| system("cannot create a pipe", &error.into()))?;
    let report = writer.as_raw_fd();
    let as_child = move || plan.run_in_child(report).and_then(|()| Err(image.exec()));
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
                // The next attempt may be in time.
                kind: if matches!(step, Step::Late) {
                    SpawnErrorKind::System
                } else {
                    SpawnErrorKind::NotExecutable
                },
                message: format!("cannot start '{name}': {}: {}", step.subject(program), describe(&error)),
            },
            None => failure(program, &error),
        }
    })?;
    // Dropping the handle neither waits nor kills.
    Pid::try_from(child.id()).map_err(|_| SpawnError {
        kind: SpawnErrorKind::System,
        message: "the process ID is out of range".to_owned(),
    })
}

/// Makes the user of the process the owner of its pipes, as container runtimes do: opening `/dev/stdout` opens the pipe
/// again, with a check of permissions.
fn give_pipes(start: &Start, attributes: &Attributes) {
    let user = attributes.user.map(Uid::from_raw);
    let group = attributes.group.map(Gid::from_raw);
    if user.is_none() && group.is_none() {
        return;
    }
    for output in [&start.stdout, &start.stderr] {
        if let Output::Pipe(pipe) = output {
            // Without the privilege, the user is the present one, who owns it.
            let _ = rustix::fs::fchown(pipe, user, group);
        }
    }
}

/// Whether an unprivileged supervisor is asked for the identity that it has. Then it keeps its supplementary groups, which
/// it cannot change, unless others are asked for.
fn is_own_identity(attributes: &Attributes) -> bool {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    !user.is_root()
        && attributes.user.is_none_or(|wanted| wanted == user.as_raw())
        && attributes.group.is_none_or(|wanted| wanted == group.as_raw())
        && attributes.groups.as_ref().is_some_and(Vec::is_empty)
}

/// The program to execute, with its arguments and environment as execve(2) takes them, prepared before the fork.
struct Image {
    candidates: Vec<CString>,
    /// Pointers into the texts below, with a null pointer at the end.
    arguments: Vec<*const libc::c_char>,
    variables: Vec<*const libc::c_char>,
    /// The arguments of the shell for a text file; the second one is the name of the file.
    shell_arguments: Vec<*const libc::c_char>,
    _texts: Vec<CString>,
}

// SAFETY: the pointers are to memory that the same value owns and that is not changed.
unsafe impl Send for Image {}
// SAFETY: as above; there is no interior mutability.
unsafe impl Sync for Image {}

impl Image {
    fn new(program: &Program, more: &[(&'static str, OsString)]) -> io::Result<Self> {
        let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        for name in &program.without_variables {
            environment.remove(OsStr::new(name));
        }
        environment.extend(program.variables.iter().cloned());
        environment.extend(more.iter().map(|(name, value)| (OsString::from(name), value.clone())));
        let path = environment.get(OsStr::new("PATH")).map(OsString::as_os_str);
        let candidates = exec::candidates(&program.command, path)?;
        let arguments = std::iter::once(&program.command).chain(&program.arguments);
        let arguments: Vec<CString> =
            arguments.map(|text| CString::new(text.as_bytes())).collect::<Result<_, _>>()?;
        let variable = |(name, value): (&OsString, &OsString)| {
            CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        let variables: Vec<CString> = environment.iter().map(variable).collect::<Result<_, _>>()?;
        let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        let (argument_pointers, variable_pointers) = (pointers(&arguments), pointers(&variables));
        let mut shell_arguments = vec![exec::SHELL.as_ptr(), ptr::null()];
        shell_arguments.extend(&argument_pointers[1..]);
        Ok(Self {
            candidates,
            arguments: argument_pointers,
            variables: variable_pointers,
            shell_arguments,
            _texts: arguments.into_iter().chain(variables).collect(),
        })
    }

    /// Executes the program; returns only if that fails. Runs in the child: system calls only.
    fn exec(&mut self) -> io::Error {
        let (mut denied, mut last) = (false, libc::ENOENT);
        for candidate in &self.candidates {
            // SAFETY: the pointers are valid and the arrays end with null pointers.
            unsafe { libc::execve(candidate.as_ptr(), self.arguments.as_ptr(), self.variables.as_ptr()) };
            let error = io::Error::last_os_error();
            match error.raw_os_error().unwrap_or(0) {
                libc::ENOEXEC if is_text_file(candidate) => {
                    self.shell_arguments[1] = candidate.as_ptr();
                    // SAFETY: as above.
                    unsafe {
                        libc::execve(
                            exec::SHELL.as_ptr(),
                            self.shell_arguments.as_ptr(),
                            self.variables.as_ptr(),
                        );
                    }
                    return error;
                }
                libc::EACCES => denied = true,
                number @ (libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT) => {
                    last = number;
                }
                _ => return error,
            }
        }
        io::Error::from_raw_os_error(if denied { libc::EACCES } else { last })
    }
}

/// Whether the file begins like a text. Runs in the child: system calls only.
fn is_text_file(file: &CStr) -> bool {
    let mut head = [0; exec::HEAD];
    // SAFETY: the name is valid; the buffer is valid for writes of its size.
    let length = unsafe {
        let descriptor = libc::open(file.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if descriptor < 0 {
            return false;
        }
        let length = libc::read(descriptor, head.as_mut_ptr().cast(), head.len());
        libc::close(descriptor);
        length
    };
    usize::try_from(length).is_ok_and(|length| exec::is_text(&head[..length]))
}

/// The data that the child needs, prepared before the fork.
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
        if is_own_identity(&attributes) {
            attributes.groups = None;
        }
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

    /// Runs in the child: system calls only.
    fn run_in_child(&self, report: RawFd) -> io::Result<()> {
        self.steps().map_err(|step| {
            let error = io::Error::last_os_error();
            let number = step as u8;
            // SAFETY: one byte of a local; the descriptor is the pipe's, open until the exec.
            unsafe { libc::write(report, (&raw const number).cast(), 1) };
            error
        })
    }

    fn steps(&self) -> Result<(), Step> {
        let check = |result: libc::c_int, step| if result == 0 { Ok(()) } else { Err(step) };
        let attributes = &self.attributes;
        if self.foreground {
            terminal::take_as_child();
        }
        // SAFETY: each call is a system call that is safe after a fork; each pointer is to memory that was
        // allocated before the fork and stays valid.
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
                check(libc::setrlimit(resource, &raw const limit), Step::Limits)?;
            }
            if let Some(nice) = attributes.nice {
                check(libc::setpriority(libc::PRIO_PROCESS, 0, nice), Step::Nice)?;
            }
            if let Some(mask) = attributes.umask {
                libc::umask(mask);
            }
            if let Some(root) = &self.root {
                check(libc::chroot(root.as_ptr()), Step::Root)?;
            }
            if let Some(groups) = &attributes.groups {
                check(
                    libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) as libc::c_int,
                    Step::Groups,
                )?;
            }
            if let Some(group) = attributes.group {
                check(libc::syscall(libc::SYS_setresgid, group, group, group) as libc::c_int, Step::Group)?;
            }
            if let Some(user) = attributes.user {
                check(libc::syscall(libc::SYS_setresuid, user, user, user) as libc::c_int, Step::User)?;
            }
            self.verify()?;
            if attributes.no_new_privileges {
                check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), Step::NoNewPrivileges)?;
            }
            // After the change of user, whose permissions count.
            if let Some(directory) = &self.directory {
                check(libc::chdir(directory.as_ptr()), Step::Directory)?;
            }
            // After the change of identity, which clears it.
            if let Some(signal) = attributes.parent_death_signal {
                check(libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0), Step::DeathSignal)?;
                if libc::getppid() != self.parent && self.parent != 1 {
                    return Err(Step::DeathSignal);
                }
            }
            // Last, since it may replace a descriptor that earlier steps need.
            if let Some((descriptor, number)) = &self.descriptor {
                let from = descriptor.as_raw_fd();
                if from == *number {
                    check(libc::fcntl(from, libc::F_SETFD, 0), Step::Descriptor)?;
                } else if libc::dup2(from, *number) < 0 {
                    return Err(Step::Descriptor);
                }
            }
        }
        signals::unblock_all().map_err(|_| Step::Signals)?;
        if let Some(not_after) = self.not_after {
            let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: it writes to a local, and is safe after a fork.
            check(unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) }, Step::Late)?;
            let now = now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned();
            if now > not_after {
                // SAFETY: errno is this thread's own.
                unsafe { *libc::__errno_location() = libc::ETIMEDOUT };
                return Err(Step::Late);
            }
        }
        Ok(())
    }

    /// Verifies that the identity has changed and cannot be changed back.
    fn verify(&self) -> Result<(), Step> {
        let (mut real, mut effective, mut saved) = (0, 0, 0);
        // SAFETY: the calls write to locals, within their sizes.
        unsafe {
            if let Some(groups) = &self.attributes.groups {
                let mut have = [0; MAX_GROUPS];
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

fn failure(program: &Program, error: &io::Error) -> SpawnError {
    let kind = match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => SpawnErrorKind::NotFound,
        Some(libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE) => SpawnErrorKind::System,
        _ => SpawnErrorKind::NotExecutable,
    };
    let (name, why) = (program.command.to_string_lossy(), exec::explain(program, error));
    SpawnError { kind, message: format!("cannot start '{name}': {why}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explains_arguments_that_are_too_long() {
        let program = Program {
            command: "true".into(),
            arguments: vec!["x".repeat(200 << 10).into()],
            ..Program::default()
        };
        let error = spawn(&program, Start::with(Output::Discard, Output::Discard)).err();
        assert!(
            error.as_ref().is_some_and(|error| error.kind == SpawnErrorKind::NotExecutable
                && error.message.contains("its arguments and variables are too long")),
            "{error:?}"
        );
    }

    #[test]
    fn names_the_working_directory() {
        let program = Program {
            command: "true".into(),
            directory: Some("/no/such/directory".into()),
            ..Program::default()
        };
        let error = spawn(&program, Start::with(Output::Discard, Output::Discard)).err();
        assert_eq!(
            error.map(|error| error.message).as_deref(),
            Some(
                "cannot start 'true': cannot change to its working directory '/no/such/directory': no such file or directory"
            )
        );
    }

    #[test]
    fn does_not_execute_after_the_deadline() {
        let directory = testkit::private_directory();
        let file = directory.path().join("created");
        let program =
            Program { command: "touch".into(), arguments: vec![file.clone().into()], ..Program::default() };
        let mut start = Start::with(Output::Discard, Output::Discard);
        // One nanosecond after boot.
        start.not_after = Some(1);
        let error = spawn(&program, start).err();
        assert!(
            error.as_ref().is_some_and(|error| error.kind == SpawnErrorKind::System
                && error.message.contains("the lease has expired")),
            "{error:?}"
        );
        assert!(!file.exists());
    }
}
