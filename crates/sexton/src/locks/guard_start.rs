//! Starts the lock guard, the process of [`guard`](super::guard).

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use engine::Exit;
use linux::process_table::ProcessTable;
use linux::spawn::{Output, Start, spawn};
use rustix::pipe::{PipeFlags, pipe_with};
use spec::notify::SERVICE_MANAGER_VARIABLES;
use spec::program::{AS_SEXTON, Program, own_executable};
use spec::text::describe;
use tokio::sync::oneshot;

use super::guard::Guard;

/// The descriptor from which the lock guard reads its orders.
pub const ORDERS: i32 = 3;

/// Starts a lock guard as a helper, and sends it the present state. Returns the receiver of its exit.
pub fn start_guard(guard: &Guard, processes: &mut ProcessTable) -> Result<oneshot::Receiver<Exit>, String> {
    let (orders, pipe) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| describe(&error.into()))?;
    nonblocking(&pipe).map_err(|error| describe(&error))?;
    let arguments =
        [AS_SEXTON.to_owned(), "lock".to_owned(), "guard".to_owned(), std::process::id().to_string()];
    let program = Program {
        command: own_executable().into(),
        arguments: arguments.iter().map(OsString::from).collect(),
        without_variables: SERVICE_MANAGER_VARIABLES.to_vec(),
        ..Program::default()
    };
    let mut start = Start::with(Output::Discard, Output::Inherit);
    start.descriptor = Some((orders, ORDERS));
    let pid = spawn(&program, start).map_err(|error| error.message)?;
    let (exited, exit) = oneshot::channel();
    processes.enter_helper(pid, None, exited);
    guard.started(File::from(pipe));
    Ok(exit)
}

fn nonblocking(pipe: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(pipe)?;
    Ok(rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK)?)
}
