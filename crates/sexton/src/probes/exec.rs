//! Commands: a check passes if the command exits with code 0.
//!
//! The supervisor's thread starts and reaps all processes: a [`SpawnSender`] sends it the command. If the result is no
//! longer awaited, the process group of the command is killed.

use engine::{Exit, Signal, SpawnError, SpawnErrorKind};
use linux::pipe::pipe;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use super::{Checked, MAX_READ, Problem, excerpt};
use linux::process_table::{MARK, ProcessTable};
use linux::signals::kill;
use linux::spawn::{Output, Start, spawn};
use spec::program::Pid;
use spec::program::Program;

/// A request to start a command.
#[derive(Debug)]
pub struct SpawnRequest {
    pub program: Program,
    pub start: Start,
    /// Receives the started command, or the reason why it could not be started.
    pub started: oneshot::Sender<Result<Group, SpawnError>>,
}

impl SpawnRequest {
    /// Starts the command and adds it to the process table.
    pub fn start(self, groups: &mut ProcessTable) {
        let Self { program, mut start, started } = self;
        let (id, mark) = groups.name_helper();
        start.variables.push((MARK, mark.into()));
        let group = spawn(&program, start).map(|pid| {
            let (on_exit, ended) = oneshot::channel();
            groups.enter_helper(pid, Some(id), on_exit);
            Group { pid, ended }
        });
        // If the receiver is gone, dropping the group kills the command.
        drop(started.send(group));
    }
}

/// The channel to the thread that starts processes.
pub type SpawnSender = mpsc::UnboundedSender<SpawnRequest>;

/// The process group of a command. Dropping it before the command has exited kills the group, also while it is still on
/// its way to the requester.
#[derive(Debug)]
pub struct Group {
    /// Process ID of the command, and its process group ID.
    pub pid: Pid,
    /// Receives its exit status.
    pub ended: oneshot::Receiver<Exit>,
}

impl Drop for Group {
    fn drop(&mut self) {
        // Until its exit is reported it has not been reaped, so the ID is still reserved: one thread does both.
        if matches!(self.ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            let _ = kill(-self.pid, Signal::KILL.0);
        }
    }
}

/// Runs a command until it exits.
pub(super) async fn run(program: &Program, spawner: &SpawnSender) -> Checked {
    let impossible = |what: &str| Problem::Impossible(what.to_owned());
    let (reader, writer) = pipe().map_err(|_| impossible("cannot create a pipe"))?;
    let stderr = writer.try_clone().map_err(|_| impossible("cannot create a pipe"))?;
    let start = Start::with(Output::Pipe(writer), Output::Pipe(stderr));
    let (started, spawned) = oneshot::channel();
    let request = SpawnRequest { program: program.clone(), start, started };
    spawner.send(request).map_err(|_| impossible("sexton is shutting down"))?;
    let group = spawned.await.map_err(|_| impossible("sexton is shutting down"))?;
    let mut group = group.map_err(|error| match error.kind {
        // That says nothing about the process.
        SpawnErrorKind::System => Problem::Impossible(error.message),
        SpawnErrorKind::NotFound | SpawnErrorKind::NotExecutable => Problem::Failed(error.message),
    })?;
    let mut captured = Vec::new();
    let exit = loop {
        tokio::select! {
            biased;
            exit = &mut group.ended => break exit.map_err(|_| impossible("sexton is shutting down"))?,
            more = read(&reader, &mut captured) => if !more {
                break (&mut group.ended).await.map_err(|_| impossible("sexton is shutting down"))?;
            }
        }
    };
    while drain(&reader, &mut captured) {}
    match exit {
        Exit::Code(0) => Ok(()),
        exit => Err(Problem::Failed(format!(
            "{} exited with {exit}{}",
            program.command.to_string_lossy(),
            excerpt(&captured)
        ))),
    }
}

/// Reads output of a command and keeps the start of it. Returns false at the end of the output.
async fn read(pipe: &AsyncFd<OwnedFd>, captured: &mut Vec<u8>) -> bool {
    let Ok(mut ready) = pipe.readable().await else { return false };
    let mut buffer = [0; 4096];
    match rustix::io::read(pipe.get_ref(), &mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            keep(captured, &buffer[..length]);
            true
        }
        Err(rustix::io::Errno::AGAIN) => {
            ready.clear_ready();
            true
        }
        Err(error) => error == rustix::io::Errno::INTR,
    }
}

/// Reads output that is available without waiting, up to the limit. Returns false if there is no more.
fn drain(pipe: &AsyncFd<OwnedFd>, captured: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match rustix::io::read(pipe.get_ref(), &mut buffer) {
        Ok(length) if length > 0 && captured.len() < MAX_READ => {
            keep(captured, &buffer[..length]);
            true
        }
        _ => false,
    }
}

fn keep(captured: &mut Vec<u8>, bytes: &[u8]) {
    let room = MAX_READ.saturating_sub(captured.len());
    captured.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
