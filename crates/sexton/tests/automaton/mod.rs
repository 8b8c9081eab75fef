//! `sexton automaton` with real scripts, and with socat as a foreign client.

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

/// Three states that lead to each other, and a fourth that is the last; `$DIR` is the directory of the test.
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
    let bot = starting(text, options);
    // It is there a moment before it can be connected to: flag `__SO_ACCEPTCON` in the kernel.
    let path = bot.socket().to_string_lossy().into_owned();
    wait_until(&format!("the socket: {}", bot.sexton.stderr()), || {
        let sockets = fs::read_to_string("/proc/net/unix").unwrap_or_default();
        sockets.lines().any(|line| line.ends_with(&path) && line.contains(" 00010000 ")).then_some(())
    });
    bot
}

/// The same, without waiting until it is there.
pub(crate) fn starting(text: &str, options: &[&str]) -> Bot {
    starting_below(&[], text, options)
}

/// The same, by a command that sets something and becomes what it is told to run.
pub(crate) fn starting_below(front: &[&str], text: &str, options: &[&str]) -> Bot {
    let directory = private_directory();
    let file = directory.path().join("bot.yml");
    let text = text.replace("$DIR", &directory.path().to_string_lossy());
    fs::write(&file, text).unwrap_or_else(|error| panic!("{error}"));
    let socket = directory.path().join("sock");
    let (file, socket) = (file.to_string_lossy(), socket.to_string_lossy());
    let mut words = front.to_vec();
    words.extend([SEXTON, "-i", "127.0.0.1", "-p", "0", "automaton", &file, "-s", &socket]);
    words.extend(options);
    Bot { sexton: Sexton::program(Path::new(words[0]), &words[1..]).start(), directory }
}

impl Bot {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("sock")
    }

    /// What a file in the directory holds.
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

    /// What socat gets for a line, as somebody types it.
    #[track_caller]
    pub(crate) fn socat(&self, line: &str) -> String {
        socat(&self.socket(), format!("{line}\n").as_bytes())
    }

    /// Our own client.
    pub(crate) fn ctl(&self, words: &[&str]) -> Done {
        let socket = self.socket();
        let output = Command::new(SEXTON)
            .args(["automaton", "ctl", "-s", &socket.to_string_lossy()])
            .args(words)
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

/// What socat, a foreign client, gets.
#[track_caller]
pub(crate) fn socat(socket: &Path, said: &[u8]) -> String {
    use std::io::Write as _;
    // Without -t it would leave half a second after its input has ended.
    let mut child = Command::new("socat")
        .args(["-t", "30", "-", &format!("UNIX-CONNECT:{}", socket.display())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("socat: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        // Who is refused early does not read all.
        let _ = stdin.write_all(said);
    }
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("socat: {error}"));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
