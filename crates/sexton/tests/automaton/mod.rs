//! `sexton automaton` with real scripts, and with socat as an independent client.

mod examples;
mod files;
mod life;
mod personality;
mod socket;
mod up;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testkit::{TempDir, private_directory, wait_until};

use crate::harness::{Done, Running, SEXTON, Sexton};

/// A running automaton.
pub(crate) struct Bot {
    pub(crate) sexton: Running,
    directory: TempDir,
}

/// Three states that lead to each other and a terminal state; `$DIR` is the directory of the test.
pub(crate) const SIMPLE: &str = "
initial: A
terminal: C
states:
- {tag: A, shell: 'echo A >> $DIR/ran', next: [B, 'S*']}
- {tag: B, shell: 'echo \"B $INPUT\" >> $DIR/ran', next: [A, B]}
- {tag: S1, shell: 'exit 3', next: '*'}
- {tag: C, shell: 'echo C >> $DIR/ran'}
";

pub(crate) fn bot(text: &str) -> Bot {
    bot_with(text, &[])
}

pub(crate) fn bot_with(text: &str, options: &[&str]) -> Bot {
    let bot = spawn_bot(text, options);
    // The socket file exists before the socket accepts connections: wait for the kernel's flag `__SO_ACCEPTCON`.
    let path = bot.socket().to_string_lossy().into_owned();
    wait_until(&format!("the socket: {}", bot.sexton.stderr()), || {
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        sockets.lines().any(|line| line.ends_with(&path) && line.contains(" 00010000 ")).then_some(())
    });
    bot
}

/// Starts an automaton without waiting for its socket.
pub(crate) fn spawn_bot(text: &str, options: &[&str]) -> Bot {
    spawn_bot_with_launcher(&[], text, options)
}

/// Starts an automaton through a launcher command that sets something and executes its arguments.
pub(crate) fn spawn_bot_with_launcher(launcher: &[&str], text: &str, options: &[&str]) -> Bot {
    let directory = private_directory();
    let file = directory.path().join("bot.yml");
    let text = text.replace("$DIR", &directory.path().to_string_lossy());
    fs::write(&file, text).unwrap_or_else(|error| panic!("{error}"));
    let socket = directory.path().join("sock");
    let (file, socket) = (file.to_string_lossy(), socket.to_string_lossy());
    let mut arguments = launcher.to_vec();
    arguments.extend([SEXTON, "-i", "127.0.0.1", "-p", "0", "automaton", &file, "-s", &socket]);
    arguments.extend(options);
    Bot { sexton: Sexton::program(Path::new(arguments[0]), &arguments[1..]).start(), directory }
}

impl Bot {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    /// The content of a file in the directory.
    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, name: &str, content: &str) {
        wait_until(
            &format!("{content:?} in {name}: {:?}; {}", self.text(name), self.sexton.stderr()),
            || self.text(name).contains(content).then_some(()),
        );
    }

    /// Sends a line with socat and returns the response.
    #[track_caller]
    pub(crate) fn socat(&self, line: &str) -> String {
        socat(&self.socket(), format!("{line}\n").as_bytes())
    }

    /// Runs `sexton automaton ctl`.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> Done {
        let socket = self.socket();
        let output = Command::new(SEXTON)
            .args(["automaton", "ctl", "-s", &socket.to_string_lossy()])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("{error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Done { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    pub(crate) fn wait_for_state(&self, tag: &str) {
        wait_until(&format!("state {tag}: {}", self.sexton.stderr()), || {
            (self.ctl(&["STATE"]).stdout.trim() == tag).then_some(())
        });
    }
}

/// Sends bytes with socat, an independent client, and returns the response.
#[track_caller]
pub(crate) fn socat(socket: &Path, request: &[u8]) -> String {
    use std::io::Write as _;
    // Without -t socat exits half a second after the end of its input.
    let mut child = Command::new("socat")
        .args(["-t", "30", "-", &format!("UNIX-CONNECT:{}", socket.display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("socat: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        // The write fails if the request is rejected before it is read completely.
        let _ = stdin.write_all(request);
    }
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("socat: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
