//! What somebody wants of us while we run: from the control socket to the driver.

use spec::reload::Reloaded;
use std::fmt;

use engine::{Outcome, Refusal, Signal};
use tokio::sync::{mpsc, oneshot};

/// The way to the driver.
pub type Controls = mpsc::Sender<Command>;

/// How many may wait to be heard.
pub const QUEUE: usize = 64;

/// Something that somebody wants.
#[derive(Debug)]
pub enum Command {
    /// Of a process.
    Process {
        /// Which.
        name: String,
        /// What.
        wish: Wish,
        /// Where the answer goes.
        reply: Reply<Outcome>,
    },
    /// That the configuration is read again.
    Reload(Reply<Reloaded>),
    /// That everything ends.
    End(Reply<Outcome>),
    /// It says that a process is alive.
    HeartBeat {
        /// Which.
        name: String,
        /// Where the answer goes.
        reply: Reply<()>,
    },
}

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, ControlError>>;

/// What may be wanted of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// That it runs.
    Start,
    /// That it does not run.
    Stop,
    /// That it runs anew.
    Restart,
    /// That it gets this signal.
    Signal(Signal),
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlError {
    /// There is no process of this name.
    Unknown(String),
    /// It cannot be done now.
    Refused(Refusal),
    /// There is no configuration to be read again, or it is not all right.
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
