//! Job control: the foreground process group, Ctrl-C, Ctrl-Z, `fg`. A real shell on a real pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use testkit::{TempDir, private_directory, tree, wait_until};

use crate::harness::{SEXTON, send};

/// An interactive shell on its own terminal.
struct Shell {
    shell: Child,
    keyboard: File,
    screen: Arc<Mutex<String>>,
    directory: TempDir,
}

impl Shell {
    fn open() -> Self {
        let (mut keyboard_fd, mut terminal_fd) = (0, 0);
        // SAFETY: openpty fills the two numbers; the other arguments may be null.
        let opened = unsafe {
            libc::openpty(
                &raw mut keyboard_fd,
                &raw mut terminal_fd,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        assert_eq!(opened, 0, "openpty");
        // SAFETY: openpty has just made them.
        let (keyboard, terminal) =
            unsafe { (OwnedFd::from_raw_fd(keyboard_fd), OwnedFd::from_raw_fd(terminal_fd)) };
        // SAFETY: the descriptor is open.
        unsafe { libc::fcntl(keyboard.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        let directory = private_directory();
        let stream = || Stdio::from(terminal.try_clone().unwrap_or_else(|error| panic!("{error}")));
        let mut command = Command::new("/bin/bash");
        command
            .args(["--norc", "--noprofile", "-i"])
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("PS1", "% ");
        command.current_dir(directory.path()).stdin(stream()).stdout(stream()).stderr(stream());
        // SAFETY: the calls are safe after a fork.
        unsafe {
            command.pre_exec(|| {
                for signal in 1..32 {
                    libc::signal(signal, libc::SIG_DFL);
                }
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let shell = command.spawn().unwrap_or_else(|error| panic!("bash: {error}"));
        drop(command);
        drop(terminal);
        let keyboard = File::from(keyboard);
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut reading, writing) =
            (keyboard.try_clone().unwrap_or_else(|error| panic!("{error}")), Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reading.read(&mut buffer) {
                if let Ok(mut screen) = writing.lock() {
                    screen.push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
            }
        });
        let this = Self { shell, keyboard, screen, directory };
        this.wait_for("% ");
        this
    }

    fn press(&mut self, keys: &str) {
        self.screen.lock().map(|mut screen| screen.clear()).unwrap_or_default();
        self.keyboard.write_all(keys.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    }

    fn screen(&self) -> String {
        self.screen.lock().map(|screen| screen.clone()).unwrap_or_default()
    }

    #[track_caller]
    fn wait_for(&self, part: &str) {
        wait_until(&format!("{part:?} on the screen"), || self.screen().contains(part).then_some(()));
    }

    fn pid_of(&self, name: &str) -> Option<i32> {
        let shell = i32::try_from(self.shell.id()).unwrap_or(0);
        tree::descendants(shell).into_iter().find(|(_, have)| have == name).map(|(pid, _)| pid)
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let shell = i32::try_from(self.shell.id()).unwrap_or(0);
        for pid in tree::descendants(shell).into_keys() {
            send(pid, libc::SIGKILL);
        }
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

#[test]
fn the_process_can_read_the_terminal() {
    let mut shell = Shell::open();
    shell.press(&format!("{SEXTON} -p none run -- sh -c 'echo go; read line; echo got:$line:'\n"));
    shell.wait_for("go\r\n");
    shell.press("arguments\n");
    shell.wait_for("got:arguments:");
    shell.wait_for("% ");
}

#[test]
fn ctrl_c_stops_the_process_and_not_the_shell() {
    let mut shell = Shell::open();
    shell.press(&format!("{SEXTON} -p none run -- sh -c 'echo go; exec sleep 1000'\n"));
    shell.wait_for("go\r\n");
    wait_until("sleep", || shell.pid_of("sleep"));
    shell.press("\x03");
    shell.wait_for("% ");
    shell.press("echo code=$?\n");
    shell.wait_for("code=130");
}

#[test]
fn ctrl_c_stops_supervise() {
    let mut shell = Shell::open();
    shell.press(&format!("{SEXTON} -p none supervise --wait 0 -- sh -c 'echo go; exec sleep 1000'\n"));
    shell.wait_for("go\r\n");
    wait_until("sleep", || shell.pid_of("sleep"));
    shell.press("\x03");
    shell.wait_for("% ");
    assert_eq!(shell.pid_of("sexton"), None);
}

#[test]
fn ctrl_z_suspends_and_fg_and_bg_resume() {
    let mut shell = Shell::open();
    let script = "echo go; while read line; do echo got:$line:; done";
    std::fs::write(shell.directory.path().join("script"), script).unwrap_or_default();
    shell.press(&format!("{SEXTON} -p none run -- sh script\n"));
    shell.wait_for("go\r\n");
    shell.press("one\n");
    shell.wait_for("got:one:");
    shell.press("\x1a");
    shell.wait_for("Stopped");
    let sexton = shell.pid_of("sexton").unwrap_or(0);
    let script = shell.pid_of("sh").unwrap_or(0);
    assert_eq!(tree::state(sexton), Some('T'), "sexton is suspended with it");
    // It is continued after it was given the terminal; typed earlier, a line would be the shell's.
    let goes_on = || wait_until("going on", || (tree::state(script) == Some('S')).then_some(()));
    shell.press("echo the-shell-is-$((40+2))\n");
    shell.wait_for("the-shell-is-42");
    shell.press("fg\n");
    goes_on();
    shell.press("two\n");
    shell.wait_for("got:two:");
    shell.press("\x1a");
    shell.wait_for("Stopped");
    shell.press("bg\n");
    // In the background it may not read: it is suspended again, and the shell reports that at its prompt.
    wait_until("stopped for reading", || {
        shell.keyboard.write_all(b"\n").unwrap_or_else(|error| panic!("{error}"));
        shell.screen().contains("Stopped").then_some(())
    });
    shell.press("fg\n");
    goes_on();
    shell.press("three\n");
    shell.wait_for("got:three:");
    shell.press("\x04");
    shell.wait_for("% ");
}

#[test]
fn ctrl_z_suspends_the_whole_pipeline() {
    let mut shell = Shell::open();
    shell.press(&format!("{SEXTON} -p none run -- sh -c 'echo go >&2; exec sleep 1000' | cat\n"));
    shell.wait_for("go\r\n");
    let sleep = wait_until("sleep", || shell.pid_of("sleep"));
    let cat = wait_until("cat", || shell.pid_of("cat"));
    shell.press("\x1a");
    shell.wait_for("Stopped");
    assert_eq!((tree::state(sleep), tree::state(cat)), (Some('T'), Some('T')));
    shell.press("fg\n");
    wait_until("both go on", || {
        (tree::state(sleep) == Some('S') && tree::state(cat) == Some('S')).then_some(())
    });
    shell.press("\x03");
    shell.wait_for("% ");
}

#[test]
fn the_terminal_modes_are_restored_after_a_kill() {
    let mut shell = Shell::open();
    shell.press(&format!("{SEXTON} -p none run -- sh -c 'stty -echo; echo go; exec sleep 1000'\n"));
    shell.wait_for("go\r\n");
    let sleep = wait_until("sleep", || shell.pid_of("sleep"));
    send(sleep, libc::SIGKILL);
    shell.wait_for("% ");
    shell.press("stty -a | tr ' ' '\\n' | grep echo$\n");
    shell.wait_for("\r\necho\r\n");
}

#[test]
fn in_the_background_the_shell_keeps_the_terminal() {
    let mut shell = Shell::open();
    shell.press(&format!("{SEXTON} -p none run -- sh -c 'echo > up; exec sleep 1000' &\n"));
    let sleep = wait_until("sleep", || shell.pid_of("sleep"));
    shell.press("echo mine-$((40+2))\n");
    shell.wait_for("mine-42");
    send(sleep, libc::SIGTERM);
    wait_until("sexton has ended", || shell.pid_of("sexton").is_none().then_some(()));
    shell.press("echo still-$((40+2))\n");
    shell.wait_for("still-42");
}

#[test]
fn a_failed_start_does_not_lose_the_terminal() {
    let mut shell = Shell::open();
    shell.press(&format!("sh -c '{SEXTON} -p none run -- /no/such; echo now; read line; echo got:$line:'\n"));
    shell.wait_for("now\r\n");
    shell.press("arguments\n");
    shell.wait_for("got:arguments:");
}

#[test]
fn ctrl_z_is_ignored_without_a_shell_that_could_resume() {
    // The shell is replaced by one without job control: there would never be a `fg`.
    let mut shell = Shell::open();
    shell.press(&format!("exec sh -c '{SEXTON} -p none run -- sh -c \"echo go; while :; do read line; echo got:\\$line:; done\"; true'\n"));
    shell.wait_for("go\r\n");
    shell.press("\x1a");
    shell.press("arguments\n");
    shell.wait_for("got:arguments:");
    shell.press("\x03");
    wait_until("sexton has ended", || shell.pid_of("sexton").is_none().then_some(()));
}

#[test]
fn the_terminal_returns_from_a_job_of_the_process() {
    // A shell that is killed while a job of its own has the terminal.
    let mut shell = Shell::open();
    shell.press(&format!("{SEXTON} -p none run -- bash --norc --noprofile -i\n"));
    shell.wait_for("% ");
    shell.press("sleep 1000\n");
    wait_until("its job", || shell.pid_of("sleep"));
    let sexton = shell.pid_of("sexton").unwrap_or(0);
    let inner =
        tree::descendants(sexton).into_iter().find(|(_, name)| name == "bash").map_or(0, |(pid, _)| pid);
    shell.press("");
    send(inner, libc::SIGKILL);
    shell.wait_for("% ");
    shell.press("echo mine-$((40+2))\n");
    shell.wait_for("mine-42");
}

#[test]
fn ctrl_z_works_if_standard_input_is_not_a_terminal() {
    let mut shell = Shell::open();
    shell.press(&format!("{SEXTON} -p none run -- sh -c 'echo go; exec sleep 1000' </dev/null\n"));
    shell.wait_for("go\r\n");
    let sleep = wait_until("sleep", || shell.pid_of("sleep"));
    shell.press("\x1a");
    shell.wait_for("Stopped");
    assert_eq!(tree::state(sleep), Some('T'));
    shell.press("fg\n");
    wait_until("it goes on", || (tree::state(sleep) == Some('S')).then_some(()));
    shell.press("\x03");
    shell.wait_for("% ");
    wait_until("all has ended", || shell.pid_of("sexton").is_none().then_some(()));
}

#[test]
fn ctrl_z_works_during_the_back_off_delay_and_in_watch() {
    for arguments in ["supervise --wait 1m -- false", "watch no-such-program"] {
        let mut shell = Shell::open();
        shell.press(&format!("{SEXTON} -v -p none {arguments} 2>log\n"));
        let log = shell.directory.path().join("log");
        if arguments.starts_with("supervise") {
            wait_until("the pause", || {
                std::fs::read_to_string(&log).ok()?.contains("restarting in").then_some(())
            });
        } else {
            wait_until("sexton", || shell.pid_of("sexton").filter(|pid| tree::state(*pid) == Some('S')));
        }
        shell.press("\x1a");
        shell.wait_for("Stopped");
        shell.press("fg\n");
        shell.wait_for(arguments);
        wait_until("it goes on", || shell.pid_of("sexton").filter(|pid| tree::state(*pid) == Some('S')));
        shell.press("\x03");
        shell.wait_for("% ");
    }
}

#[test]
fn in_an_orphaned_background_group_a_reader_is_suspended_only_once() {
    let mut shell = Shell::open();
    // It begins when the shell in between has gone and the terminal is the first shell's again.
    let script =
        format!("while [ ! -e go ]; do sleep 0.01; done; exec {SEXTON} -v -p none run -- sh -c 'read line'");
    std::fs::write(shell.directory.path().join("script"), script).unwrap_or_default();
    shell.press("(sh script </dev/tty 2>log &); echo ready-$((40+2))\n");
    shell.wait_for("ready-42");
    std::fs::write(shell.directory.path().join("go"), "").unwrap_or_default();
    let log = shell.directory.path().join("log");
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_until("it is stopped", || text().contains("suspended by SIGTTIN").then_some(()));
    for round in 0..5 {
        shell.press(&format!("echo round-$(({round}+40))\n"));
        shell.wait_for(&format!("round-{}", round + 40));
    }
    assert_eq!(text().matches("suspended by SIGTTIN").count(), 1, "{}", text());
    let pid =
        text().split("pid=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse::<i32>().ok());
    send(pid.unwrap_or(0), libc::SIGKILL);
}

#[test]
fn as_pid_1_on_a_terminal_of_another_namespace_nothing_is_suspended() {
    // Its group and session are outside its namespace, and so have no numbers there.
    let mut shell = Shell::open();
    let script = "echo go; kill -TSTP $$; echo on; exit 7";
    std::fs::write(shell.directory.path().join("script"), script).unwrap_or_default();
    let unshare = "unshare -r --pid --fork --kill-child --mount-proc";
    shell.press(&format!("{unshare} {SEXTON} -p none run -- sh script; echo code=$?\n"));
    shell.wait_for("on\r\n");
    shell.wait_for("code=7");
}
