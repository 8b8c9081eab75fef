//! Commands requested by other pods: run by `sh -c` with the complete request in `INPUT`; the response is their output.

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

/// Maximum size of an output in a response, in bytes.
const MAX_OUTPUT: usize = 1 << 20;
/// Time limit of a command.
pub const LIMIT: Duration = Duration::from_secs(60);
/// JSON key of the token in a request.
pub const TOKEN: &str = "token";
/// Maximum size of a request, in bytes: it is passed in one variable (`MAX_ARG_STRLEN` of execve(2)).
pub const LONGEST: usize = 96 << 10;
/// Time limit for reading from pipes that stay open after the command has exited.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// The result of a command.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Exit code, like that of a shell.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub stdout_cut: bool,
    pub stderr_cut: bool,
}

impl Outcome {
    /// Returns the standard output, with a note at the end if it was cut.
    #[must_use]
    pub fn text(self) -> String {
        let mark =
            if self.stdout_cut { format!("\n(cut: more than {MAX_OUTPUT} bytes)\n") } else { String::new() };
        self.stdout + &mark
    }

    /// Returns the result as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"code": self.code, "stdout": self.stdout, "stderr": self.stderr, "cut": self.stdout_cut || self.stderr_cut})
    }
}

/// Runs the `cmd` of a request, as another user and group if set.
///
/// # Errors
///
/// The request is invalid, or the command could not be started or took too long.
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
    // The command gets the request without the token.
    let secret = parsed.as_object_mut().and_then(|map| map.remove(TOKEN));
    let command =
        parsed["cmd"].as_str().filter(|command| !command.is_empty()).ok_or("expected JSON with cmd")?;
    let input = match secret {
        None => String::from_utf8_lossy(request).into_owned(),
        Some(_) => parsed.to_string(),
    };
    if command.contains('\0') || input.contains('\0') {
        return Err("a command cannot contain NUL".to_owned());
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
    timeout(LIMIT, execute(program, runner))
        .await
        .unwrap_or_else(|_| Err(format!("the command took longer than {LIMIT:?} and was killed")))
}

async fn execute(program: Program, runner: &SpawnSender) -> Result<Outcome, String> {
    let no_pipe = |error: std::io::Error| format!("cannot create a pipe: {error}");
    let (stdout, to_stdout) = pipe().map_err(no_pipe)?;
    let (stderr, to_stderr) = pipe().map_err(no_pipe)?;
    let start = Start::with(Output::Pipe(to_stdout), Output::Pipe(to_stderr));
    let (started, there) = oneshot::channel();
    let shutting_down = || "shutting down".to_owned();
    runner.send(SpawnRequest { program, start, started }).map_err(|_| shutting_down())?;
    // Dropping this kills the process group.
    let mut group = there.await.map_err(|_| shutting_down())?.map_err(|error| error.message)?;
    let out = tokio::spawn(async move { reading::up_to(&stdout, MAX_OUTPUT + 1).await });
    let err = tokio::spawn(async move { reading::up_to(&stderr, MAX_OUTPUT + 1).await });
    let exit: Exit = (&mut group.ended).await.map_err(|_| shutting_down())?;
    let read = async |mut task: tokio::task::JoinHandle<Vec<u8>>| match timeout(DRAIN_LIMIT, &mut task).await
    {
        Ok(read) => read.unwrap_or_default(),
        Err(_) => {
            task.abort();
            Vec::new()
        }
    };
    let (out, err) = tokio::join!(read(out), read(err));
    let (stdout_cut, stderr_cut) = (out.len() > MAX_OUTPUT, err.len() > MAX_OUTPUT);
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_OUTPUT)]).into_owned();
    Ok(Outcome { code: exit.shell_code(), stdout: text(&out), stderr: text(&err), stdout_cut, stderr_cut })
}
