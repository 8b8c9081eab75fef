//! The pod: its tombstones, and the containers in it that belong to others.

use std::path::PathBuf;
use std::time::Duration;

/// Where tombstones are, unless somebody says otherwise.
pub const DEFAULT_DIRECTORY: &str = "/graveyard";

/// The mode of a directory that we make: every container may put its own there and nobody may take another's.
pub const DEFAULT_MODE: u32 = 0o1777;

/// What is said of the pod and of those in it that are not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodPlan {
    /// The tombstone of the whole; None: there is none.
    pub name: Option<String>,
    /// Where tombstones are.
    pub directory: PathBuf,
    /// The mode of the directory, if we make it.
    pub mode: u32,
    /// How often it is looked at, beside being told of changes; None: only where changes are not told.
    pub poll: Option<Duration>,
    /// Ask the Kubernetes API about the containers of this pod.
    pub api: Option<ApiPlan>,
    /// Whom to tell to end when we have ended.
    pub quit: Vec<Quit>,
    /// They are told only if our exit code is 0.
    pub quit_on_success_only: bool,
}

impl Default for PodPlan {
    fn default() -> Self {
        Self {
            name: None,
            directory: PathBuf::from(DEFAULT_DIRECTORY),
            mode: DEFAULT_MODE,
            poll: None,
            api: None,
            quit: Vec::new(),
            quit_on_success_only: false,
        }
    }
}

/// Which pod to ask the Kubernetes API about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiPlan {
    /// Its name.
    pub pod: String,
    /// Its namespace; None: that of our service account.
    pub namespace: Option<String>,
}

/// Somebody who is told to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quit {
    /// By a POST to this.
    pub url: String,
    /// How long that may take.
    pub timeout: Duration,
    /// If it does not work, we have failed.
    pub fatal: bool,
}
