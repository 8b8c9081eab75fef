//! What others may have us run: `sh -c` with the whole request in `INPUT`, and what it prints back.

use linux::pipe::pipe;
use std::time::Duration;

use engine::Exit;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::reading;
use crate::probes::{SpawnRequest, SpawnSender};
use linux::spawn::{Output, Start};
use spec::program::{Attributes, Program};

/// The most of an output that is sent back.
const MOST: usize = 1 << 20;
/// How long it may take.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Where the token may stand in a request.
pub const TOKEN: &str = "token";
/// The longest request: it goes into one variable (`MAX_ARG_STRLEN` of execve(2)).
pub const LONGEST: usize = 96 << 10;
/// How long what still holds a pipe after the command's end is read.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What has come of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// As a shell has it.
    pub code: i32,
    /// What it has printed.
    pub stdout: String,
    /// And on standard error.
    pub stderr: String,
    /// Standard output was longer, and is cut.
    pub stdout_cut: bool,
    /// Standard error was.
    pub stderr_cut: bool,
}

impl Outcome {
    /// What it has printed, with a mark behind it where it was cut.
    #[must_use]
    pub fn text(self) -> String {
        let mark = if self.stdout_cut { format!("\n(cut: more than {MOST} bytes)\n") } else { String::new() };
        self.stdout + &mark
    }

    /// As JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"code": self.code, "stdout": self.stdout, "stderr": self.stderr, "cut": self.stdout_cut || self.stderr_cut})
    }
}

/// Runs the `cmd` of a request, as this user and group if they are not ours.
///
/// # Errors
///
/// There is none, it could not be started, or it took too long.
pub async fn run(
    request: &[u8],
    invoke_user: Option<(u32, u32)>,
    runner: &SpawnSender,
) -> Result<Outcome, String> {
    if request.len() > LONGEST {
        return Err(format!("the request is longer than {LONGEST} bytes"));
    }
    let mut parsed: Value =
        serde_json::from_slice(request).map_err(|error| format!("expected JSON with cmd: {error}"))?;
    // Commands see what was asked, and no secrets.
    let secret = parsed.as_object_mut().and_then(|map| map.remove(TOKEN));
    let command =
        parsed["cmd"].as_str().filter(|command| !command.is_empty()).ok_or("expected JSON with cmd")?;
    let input = match secret {
        None => String::from_utf8_lossy(request).into_owned(),
        Some(_) => parsed.to_string(),
    };
    if command.contains('\0') || input.contains('\0') {
        return Err("a command cannot hold a NUL".to_owned());
    }
    let program = Program {
        command: "sh".into(),
        arguments: vec!["-c".into(), command.into()],
        without_variables: spec::notify::SERVICE_MANAGER_VARIABLES.to_vec(),
        variables: vec![("INPUT".into(), input.into())],
        attributes: Attributes {
            user: invoke_user.map(|(user, _)| user),
            group: invoke_user.map(|(_, group)| group),
            groups: invoke_user.map(|_| Vec::new()),
            ..Attributes::default()
        },
        ..Program::default()
    };
    timeout(LIMIT, started(program, runner))
        .await
        .unwrap_or_else(|_| Err(format!("it took longer than {LIMIT:?}, and was killed")))
}

async fn started(program: Program, runner: &SpawnSender) -> Result<Outcome, String> {
    let no_pipe = |error: std::io::Error| format!("no pipe: {error}");
    let (stdout, to_stdout) = pipe().map_err(no_pipe)?;
    let (stderr, to_stderr) = pipe().map_err(no_pipe)?;
    let start = Start::with(Output::Pipe(to_stdout), Output::Pipe(to_stderr));
    let (started, there) = oneshot::channel();
    let over = || "everything is ending".to_owned();
    runner.send(SpawnRequest { program, start, started }).map_err(|_| over())?;
    // Its group is killed when nobody has this any more.
    let mut group = there.await.map_err(|_| over())??;
    let out = tokio::spawn(async move { reading::up_to(&stdout, MOST + 1).await });
    let err = tokio::spawn(async move { reading::up_to(&stderr, MOST + 1).await });
    let exit: Exit = (&mut group.ended).await.map_err(|_| over())?;
    let read = async |mut task: tokio::task::JoinHandle<Vec<u8>>| match timeout(LAST_WORDS, &mut task).await {
        Ok(read) => read.unwrap_or_default(),
        Err(_) => {
            task.abort();
            Vec::new()
        }
    };
    let (out, err) = tokio::join!(read(out), read(err));
    let (stdout_cut, stderr_cut) = (out.len() > MOST, err.len() > MOST);
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MOST)]).into_owned();
    Ok(Outcome { code: exit.shell_code(), stdout: text(&out), stderr: text(&err), stdout_cut, stderr_cut })
}
