//! Births and deaths across the containers of a pod, told by files in a directory that they share.
//!
//! ```text
//! engine ─Effect::Carve─► carver ─► <graveyard>/<name> ─► watch ─Event::Seen─► engine of another container
//! ```
//!
//! * [`tombstone`]: what stands in the file
//! * [`directory`]: where tombstones are
//! * [`carver`]: writes it, whole or not at all, and holds a lock on it as long as we live
//! * [`watch`]: sees what others write, and that a keeper is gone without a word
//! * [`outside`]: what the Kubernetes API and HTTP servers say of those who carve no tombstone
//! * [`Graveyard`]: all of that, for the driver
//!
//! **Old deaths.** A shared directory outlives a restart of containers. When we end because of the death of a peer
//! (or while it is dead), our tombstone names the lives that we mourn (`Mourns`). When we are started again
//! and such a life is still the newest of that peer, its death is old: it was dealt with by our own end. The
//! peer is expected back as we have come back, and only if it has not within a while does its death count.
//! A life is known by its `Incarnation`, and kubexit's, which has none, by its `Born`.

pub mod carver;
pub mod directory;
pub mod name;
pub mod outside;
pub mod tombstone;
pub mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use engine::{JobId, PeerEnd, Sighting, Stone};
use thiserror::Error;

use crate::clock::Clock;
use crate::words::describe;
use carver::Carver;
use name::PeerName;
use outside::{Outside, Word};
use tombstone::Tombstone;
use watch::{Found, Watch};

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

/// Why there is no graveyard.
#[derive(Debug, Error)]
pub enum GraveyardError {
    /// The directory cannot be made or read.
    #[error("no graveyard {}: {}", path.display(), describe(source))]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Our tombstone cannot be carved.
    #[error("cannot carve the tombstone {}: {}", path.display(), describe(source))]
    Carve {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The Kubernetes API cannot be asked.
    #[error("cannot ask the Kubernetes API: {0}")]
    Api(#[from] kube::KubeError),
}

/// Our tombstones, and those that we watch.
pub struct Graveyard {
    plan: PodPlan,
    clock: Clock,
    /// By process; None: that of the whole.
    carvers: BTreeMap<Option<JobId>, Carver>,
    watch: Watch,
    outside: Outside,
    /// The lives that our life of before mourned: name and identity.
    mourned: BTreeSet<(String, String)>,
    /// Those whose death ends something here.
    doom: BTreeSet<String>,
    /// What is known of each peer, by source.
    known: BTreeMap<String, Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    stone: Option<Found>,
    said: Option<Word>,
    told: Option<Sighting>,
}

/// Whom to look at, and whose tombstones to carve.
#[derive(Debug, Clone, Default)]
pub struct Cast {
    /// All peers.
    pub peers: BTreeSet<String>,
    /// Those of them whose death ends something here.
    pub doom: BTreeSet<String>,
    /// The tombstones of processes.
    pub stones: Vec<(JobId, String)>,
}

impl Graveyard {
    /// Makes the directory, if something of it is ours or watched, and looks at all that is watched.
    pub fn begin(
        plan: PodPlan,
        cast: Cast,
        clock: Clock,
    ) -> Result<(Self, Vec<(String, Sighting)>), GraveyardError> {
        let outside = Outside::begin(plan.api.as_ref())?;
        let mut this = Self {
            watch: Watch::new(plan.mode, plan.poll),
            carvers: BTreeMap::new(),
            outside,
            mourned: BTreeSet::new(),
            doom: BTreeSet::new(),
            known: BTreeMap::new(),
            plan,
            clock,
        };
        if let Some(name) = this.plan.name.clone() {
            this.open(None, &name)?;
        }
        let news = this.recast(cast)?;
        Ok((this, news))
    }

    /// Others are to be looked at, other tombstones to be carved, after a reload too.
    pub fn recast(&mut self, cast: Cast) -> Result<Vec<(String, Sighting)>, GraveyardError> {
        for (id, name) in &cast.stones {
            if !self.carvers.contains_key(&Some(*id)) {
                self.open(Some(*id), name)?;
            }
        }
        self.doom = cast.doom;
        self.known.retain(|name, _| cast.peers.contains(name));
        let mut files = BTreeSet::new();
        let mut urls = BTreeSet::new();
        for peer in &cast.peers {
            match PeerName::of(peer) {
                PeerName::Url => drop(urls.insert(peer.clone())),
                name => drop(files.insert((name.path(&self.plan.directory), peer.clone()))),
            }
        }
        let found = self
            .watch
            .look_for(files)
            .map_err(|(path, source)| GraveyardError::Directory { path, source })?;
        let mut news = Vec::new();
        for (peer, found) in found {
            self.known.entry(peer.clone()).or_default().stone = Some(found);
            news.extend(self.news_of(&peer));
        }
        self.outside.ask(urls);
        Ok(news)
    }

    fn open(&mut self, of: Option<JobId>, name: &str) -> Result<(), GraveyardError> {
        let directory = self.plan.directory.clone();
        directory::make(&directory, self.plan.mode)
            .map_err(|source| GraveyardError::Directory { path: directory.clone(), source })?;
        let (carver, before) = Carver::begin(&directory, self.plan.mode, name);
        if carver.has_another_keeper() {
            log::warn!(file:% = carver.path().display(); "another process that is alive carves this tombstone: two of the same name");
        }
        self.mourned.extend(before.map(|stone| stone.mourns).unwrap_or_default());
        self.carvers.insert(of, carver);
        Ok(())
    }

    /// Carves. What cannot be carved is told, and is tried again with the next change.
    pub fn carve(&mut self, of: Option<JobId>, stone: &Stone) -> Result<(), GraveyardError> {
        let mourns = if stone.died.is_some() { self.mourns() } else { BTreeSet::new() };
        let Some(carver) = self.carvers.get_mut(&of) else { return Ok(()) };
        let path = carver.path().to_owned();
        carver.carve(stone, mourns, self.clock).map_err(|source| GraveyardError::Carve { path, source })
    }

    /// Carves again what was taken away. (An open tombstone keeps a directory that was removed from vanishing, so
    /// that nobody would tell us that it was: its emptying does.)
    fn restore(&mut self) {
        for carver in self.carvers.values_mut() {
            if let Err(error) = carver.restore() {
                log::warn!(file:% = carver.path().display(); "cannot carve our tombstone again: {}", describe(&error));
            }
        }
    }

    /// A process is not planned any more.
    pub fn forget(&mut self, of: JobId) {
        self.carvers.remove(&Some(of));
    }

    /// The lives whose deaths would end us, or have.
    fn mourns(&self) -> BTreeSet<(String, String)> {
        let dead = self.doom.iter().filter_map(|peer| {
            let known = self.known.get(peer)?;
            known.ended(false).is_some().then(|| Some((peer.clone(), known.identity()?))).flatten()
        });
        dead.collect()
    }

    /// Waits for news of peers.
    pub async fn changes(&mut self) -> Vec<(String, Sighting)> {
        let mut news = Vec::new();
        tokio::select! {
            (found, taken) = self.watch.changes() => {
                if taken {
                    self.restore();
                }
                for (peer, found) in found {
                    self.known.entry(peer.clone()).or_default().stone = Some(found);
                    news.extend(self.news_of(&peer));
                }
            },
            said = self.outside.words() => for (peer, word) in said {
                // The API tells of all containers of the pod.
                if self.known.contains_key(&peer) || self.outside.asks(&peer) {
                    self.known.entry(peer.clone()).or_default().said = Some(word);
                    news.extend(self.news_of(&peer));
                }
            }
        }
        news
    }

    /// What is known of a peer, if that is news.
    fn news_of(&mut self, peer: &str) -> Option<(String, Sighting)> {
        let known = self.known.get_mut(peer)?;
        let mourned = known.identity().is_some_and(|life| self.mourned.contains(&(peer.to_owned(), life)));
        let sighting = known.sighting(mourned, self.plan.api.is_some());
        if known.told == Some(sighting) {
            return None;
        }
        known.told = Some(sighting);
        Some((peer.to_owned(), sighting))
    }

    /// Whom to tell to end, if we end with this code.
    #[must_use]
    pub fn to_quit(&self, code: i32) -> &[Quit] {
        if self.plan.quit_on_success_only && code != 0 { &[] } else { &self.plan.quit }
    }
}

impl Known {
    fn stone(&self) -> Option<&Tombstone> {
        self.stone.as_ref().and_then(|found| found.stone.as_ref())
    }

    /// The end of its newest life, if that has ended.
    fn ended(&self, mourned: bool) -> Option<PeerEnd> {
        let end = |code| Some(PeerEnd { code, old: mourned });
        match (&self.stone, &self.said) {
            (Some(Found { stone: Some(stone), .. }), _) if stone.died.is_some() => end(stone.exit_code),
            (Some(Found { stone: Some(_), abandoned: true }), _) => end(None),
            (Some(Found { stone: Some(_), .. }), _) => None,
            // Whoever carves no tombstone is known from outside alone.
            (_, said) => said.as_ref()?.ended.and_then(|code| end(Some(code))),
        }
    }

    fn identity(&self) -> Option<String> {
        match self.stone() {
            Some(stone) => stone.identity(),
            None => self.said.as_ref()?.identity.clone(),
        }
    }

    /// `api`: the Kubernetes API is asked who is ready.
    fn sighting(&self, mourned: bool, api: bool) -> Sighting {
        let ended = self.ended(mourned);
        let alive = self.stone().is_some_and(|stone| stone.born.is_some()) && ended.is_none();
        // kubexit cannot say that it is ready: where nobody else can either, its birth has to do.
        let by_stone =
            self.stone().is_some_and(|stone| stone.ready.is_some() || (stone.incarnation.is_none() && !api));
        let said = self.said.as_ref();
        Sighting {
            started: alive || said.is_some_and(|word| word.started && ended.is_none()),
            ready: (alive && by_stone) || said.is_some_and(|word| word.ready),
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stone(text: &str) -> Known {
        let stone = Tombstone::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        Known { stone: Some(Found { stone: Some(stone), abandoned: false }), ..Known::default() }
    }

    const BORN: &str = "Born: 2026-11-21T06:41:22.120834821Z\n";

    #[test]
    fn of_kubexit_birth_is_readiness_unless_the_api_knows_better() {
        let mut known = stone(BORN);
        assert_eq!(known.sighting(false, false), Sighting { started: true, ready: true, ended: None });
        assert!(!known.sighting(false, true).ready, "the API has not answered yet");
        known.said = Some(Word { started: true, ready: true, ..Word::default() });
        assert!(known.sighting(false, true).ready);
        // Ours says it itself.
        assert!(!stone(&format!("{BORN}Incarnation: x\n")).sighting(false, false).ready);
        assert!(
            stone(&format!("{BORN}Ready: 2026-11-21T06:41:23Z\nIncarnation: x\n"))
                .sighting(false, false)
                .ready
        );
    }

    #[test]
    fn the_dead_are_neither_started_nor_ready() {
        let dead = stone(&format!(
            "{BORN}Ready: 2026-11-21T06:41:23Z\nDied: 2026-11-21T06:42:22Z\nExitCode: 3\nIncarnation: x\n"
        ));
        let end = |old| Some(PeerEnd { code: Some(3), old });
        assert_eq!(dead.sighting(false, false), Sighting { started: false, ready: false, ended: end(false) });
        assert_eq!(dead.sighting(true, false), Sighting { started: false, ready: false, ended: end(true) });
        let mut gone = stone(&format!("{BORN}Ready: 2026-11-21T06:41:23Z\nIncarnation: x\n"));
        gone.stone.as_mut().unwrap_or_else(|| unreachable!()).abandoned = true;
        let ended = Some(PeerEnd { code: None, old: false });
        assert_eq!(gone.sighting(false, false), Sighting { started: false, ready: false, ended });
    }

    #[test]
    fn whoever_carves_nothing_is_known_from_outside() {
        let word = Word { started: false, ready: true, ended: Some(0), identity: Some("0".to_owned()) };
        let known = Known { said: Some(word), ..Known::default() };
        let ended = Some(PeerEnd { code: Some(0), old: false });
        assert_eq!(known.sighting(false, false), Sighting { started: false, ready: true, ended });
        assert_eq!(Known::default().sighting(false, false), Sighting::default());
    }
}
