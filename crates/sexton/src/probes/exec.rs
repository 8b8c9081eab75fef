//! A command that ends with 0.
//!
//! Commands are started by whoever starts everything, and reaped by whoever reaps everything: a [`SpawnSender`] is the
//! way there. When nobody waits for a command any more, its whole group is killed.

use engine::{Exit, Signal};
use linux::pipe::pipe;
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use super::{Checked, MOST_READ, Problem, told};
use linux::process_table::ProcessTable;
use linux::signals::kill;
use linux::spawn::{Output, Start, spawn};
use spec::program::Pid;
use spec::program::Program;

/// A command that somebody wants to have started.
#[derive(Debug)]
pub struct SpawnRequest {
    /// What.
    pub program: Program,
    /// How.
    pub start: Start,
    /// Where it goes once it is there, or why it could not be started.
    pub started: oneshot::Sender<Result<Group, String>>,
}

impl SpawnRequest {
    /// Starts it, and enters it in the books of whoever reaps.
    pub fn start(self, groups: &mut ProcessTable) {
        let Self { program, start, started } = self;
        match spawn(&program, start) {
            Ok(pid) => {
                let (told, ended) = oneshot::channel();
                groups.enter_helper(pid, told);
                // If nobody waits for it any more, it is killed with this.
                drop(started.send(Ok(Group { pid, ended })));
            }
            Err(error) => drop(started.send(Err(error.message))),
        }
    }
}

/// The way to whoever starts processes.
pub type SpawnSender = mpsc::UnboundedSender<SpawnRequest>;

/// The group of a command, until it has ended. It is killed when nobody has this any more, wherever on the way to
/// whoever asked for it that happens.
#[derive(Debug)]
pub struct Group {
    /// The number of the command and of its group.
    pub pid: Pid,
    /// Where its end comes from.
    pub ended: oneshot::Receiver<Exit>,
}

impl Drop for Group {
    fn drop(&mut self) {
        // As long as its end was not told it was not reaped, and its number is its own: the same thread reaps.
        if matches!(self.ended.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            let _ = kill(-self.pid, Signal::KILL.0);
        }
    }
}

/// Runs a command to its end.
pub(super) async fn run(program: &Program, runner: &SpawnSender) -> Checked {
    let impossible = |what: &str| Problem::Impossible(what.to_owned());
    let (reader, writer) = pipe().map_err(|_| impossible("no pipe"))?;
    let both = writer.try_clone().map_err(|_| impossible("no pipe"))?;
    let start = Start::with(Output::Pipe(writer), Output::Pipe(both));
    let (started, there) = oneshot::channel();
    let asked = SpawnRequest { program: program.clone(), start, started };
    runner.send(asked).map_err(|_| impossible("everything is ending"))?;
    let group = there.await.map_err(|_| impossible("everything is ending"))?;
    let mut group = group.map_err(Problem::Failed)?;
    let mut said = Vec::new();
    let exit = loop {
        tokio::select! {
            biased;
            exit = &mut group.ended => break exit.map_err(|_| impossible("everything is ending"))?,
            more = read(&reader, &mut said) => if !more {
                break (&mut group.ended).await.map_err(|_| impossible("everything is ending"))?;
            }
        }
    };
    while drain(&reader, &mut said) {}
    match exit {
        Exit::Code(0) => Ok(()),
        exit => Err(Problem::Failed(format!(
            "{} ended with {exit}{}",
            program.command.to_string_lossy(),
            told(&said)
        ))),
    }
}

/// Reads what a command writes, keeping the beginning. False: there is no more.
async fn read(pipe: &AsyncFd<OwnedFd>, said: &mut Vec<u8>) -> bool {
    let Ok(mut ready) = pipe.readable().await else { return false };
    let mut buffer = [0; 4096];
    match rustix::io::read(pipe.get_ref(), &mut buffer) {
        Ok(0) => false,
        Ok(length) => {
            keep(said, &buffer[..length]);
            true
        }
        Err(rustix::io::Errno::AGAIN) => {
            ready.clear_ready();
            true
        }
        Err(error) => error == rustix::io::Errno::INTR,
    }
}

/// The same of what is there already, up to what is kept.
fn drain(pipe: &AsyncFd<OwnedFd>, said: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    match rustix::io::read(pipe.get_ref(), &mut buffer) {
        Ok(length) if length > 0 && said.len() < MOST_READ => {
            keep(said, &buffer[..length]);
            true
        }
        _ => false,
    }
}

fn keep(said: &mut Vec<u8>, bytes: &[u8]) {
    let room = MOST_READ.saturating_sub(said.len());
    said.extend_from_slice(&bytes[..bytes.len().min(room)]);
}
