//! Requests of clients, from the control socket to the supervisor.

use std::fmt;

use engine::{Outcome, Refusal, Signal};
use spec::reload::Reloaded;
use tokio::sync::{mpsc, oneshot};

/// The sender of requests to the supervisor.
pub type Controls = mpsc::Sender<Command>;

/// The length of the queue of requests; clients wait while it is full.
pub const QUEUE: usize = 64;

/// A request of a client.
#[derive(Debug)]
pub enum Command {
    /// Changes a process.
    Process { name: String, action: ProcessAction, reply: Reply<Outcome> },
    /// Reloads the configuration.
    Reload(Reply<Reloaded>),
    /// Shuts everything down.
    End(Reply<Outcome>),
    /// Reports that a process is alive.
    HeartBeat { name: String, reply: Reply<()> },
}

/// The sender of the reply to a request.
pub type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// A change of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessAction {
    Start,
    Stop,
    Restart,
    Signal(Signal),
    /// A signal to the process group.
    SignalGroup(Signal),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlError {
    /// There is no process of this name.
    Unknown(String),
    /// The supervisor cannot do it now.
    Refused(Refusal),
    /// There is no configuration file to reload, or it is invalid.
    Configuration(String),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) | Self::Configuration(text) => f.write_str(text),
            Self::Refused(refusal) => write!(f, "{refusal}"),
        }
    }
}
