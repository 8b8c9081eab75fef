//! Births and deaths across the containers of a pod, told by files in a directory that they share.
//!
//! ```text
//! engine ─Effect::Carve─► carver ─► <graveyard>/<name> ─► watch ─Event::Seen─► engine of another container
//! ```
//!
//! * [`tombstone`]: what stands in the file
//! * [`directory`]: where tombstones are
//! * [`writer`]: writes it, whole or not at all, and holds a lock on it as long as we live
//! * [`watch`]: sees what others write, and that a keeper is gone without a word
//! * [`external_peers`]: what the Kubernetes API and HTTP servers say of those who carve no tombstone
//! * [`Graveyard`]: all of that, for the driver
//!
//! **Old deaths.** A shared directory outlives a restart of containers. A death is old, and does not end us at once, if
//!
//! * our life of before has mourned it: its tombstone names the lives that were over when it ended (`Mourns`),
//! * or whoever died has mourned a life of ours: he ended because of us,
//! * or we are started again and find that he has failed: whoever starts us again will start him too.
//!
//! He is expected back, and only if he has not come back within a while does his death count. A life is known by its
//! `Incarnation`, and kubexit's, which has none, by its `Born`.

pub mod directory;
pub mod external_peers;
pub mod tombstone;
pub mod watch;
pub mod writer;

use spec::pod::{PodPlan, Quit};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use engine::{JobId, LifecycleRecord, PeerExit, PeerStatus};
use thiserror::Error;

use external_peers::{ExternalPeers, PeerReport};
use linux::clock::{Clock, Moment};
use spec::names::PeerName;
use spec::text::describe;
use tombstone::Tombstone;
use watch::{Found, Watch};
use writer::TombstoneWriter;

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
    Api(#[from] k8s::KubeError),
}

/// Our tombstones, and those that we watch.
pub struct Graveyard {
    plan: PodPlan,
    clock: Clock,
    moment: Moment,
    /// By the name of the tombstone.
    carvers: BTreeMap<String, TombstoneWriter>,
    /// The tombstone of a process; None: of the whole.
    stones: BTreeMap<Option<JobId>, String>,
    /// Whose word counts: where one process replaces another, the new one's.
    owners: BTreeMap<String, Option<JobId>>,
    watch: Watch,
    outside: ExternalPeers,
    /// The lives that were mourned before us: name and identity.
    mourned: BTreeSet<(String, String)>,
    /// The lives that were ours before.
    lives: BTreeSet<String>,
    /// Those whose death ends something here.
    doom: BTreeSet<String>,
    /// What is known of each peer, by source.
    known: BTreeMap<String, Known>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    stone: Option<Found>,
    said: Option<PeerReport>,
    told: Option<PeerStatus>,
}

/// Whom to look at, and whose tombstones to carve.
#[derive(Debug, Clone, Default)]
pub struct Cast {
    /// Those who are waited for.
    pub awaited: BTreeSet<String>,
    /// Those whose death ends something here.
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
    ) -> Result<(Self, Vec<(String, PeerStatus)>), GraveyardError> {
        let mut this = Self {
            watch: Watch::new(plan.mode, plan.poll),
            carvers: BTreeMap::new(),
            stones: BTreeMap::new(),
            owners: BTreeMap::new(),
            outside: ExternalPeers::default(),
            mourned: BTreeSet::new(),
            lives: BTreeSet::new(),
            doom: BTreeSet::new(),
            known: BTreeMap::new(),
            plan,
            clock,
            moment: Moment::default(),
        };
        if let Some(name) = this.plan.name.clone() {
            let (carver, before) = this.open(&name)?;
            this.own(None, name, Some(carver));
            this.load_previous(before);
        }
        let news = this.recast(cast)?;
        Ok((this, news))
    }

    /// Who we are, where the graveyard is, and whom we tell to end.
    #[must_use]
    pub const fn plan(&self) -> &PodPlan {
        &self.plan
    }

    /// Others are to be looked at, other tombstones to be carved. An error changes nothing.
    pub fn recast(&mut self, cast: Cast) -> Result<Vec<(String, PeerStatus)>, GraveyardError> {
        let mut opened = BTreeMap::new();
        for (_, name) in &cast.stones {
            if !self.carvers.contains_key(name) && !opened.contains_key(name) {
                opened.insert(name.clone(), self.open(name)?);
            }
        }
        let mut files = BTreeSet::new();
        let mut urls = BTreeSet::new();
        for peer in cast.awaited.union(&cast.doom) {
            match PeerName::of(peer) {
                PeerName::Url => drop(urls.insert(peer.clone())),
                name => drop(files.insert((name.path(&self.plan.directory), peer.clone()))),
            }
        }
        for directory in files.iter().filter_map(|(path, _)| path.parent()) {
            self.make(directory)?;
        }
        if let Some(api) = self.plan.api.as_ref().filter(|_| !files.is_empty()) {
            let needed = cast.awaited.iter().any(|peer| PeerName::of(peer) != PeerName::Url);
            match self.outside.ask_api(api) {
                Err(error) if needed => return Err(error),
                Err(error) => log::warn!("{error}; tombstones alone tell of deaths"),
                Ok(()) => {}
            }
        }
        // From here on nothing is refused.
        for (id, name) in cast.stones {
            let (carver, before) = opened.remove(&name).unzip();
            self.own(Some(id), name, carver);
            self.load_previous(before.flatten());
        }
        self.doom = cast.doom;
        self.known.retain(|name, _| cast.awaited.contains(name) || self.doom.contains(name));
        let mut peers = Vec::new();
        for (peer, found) in self.watch.look_for(files) {
            let known = Known { stone: Some(found), ..self.known.remove(&peer).unwrap_or_default() };
            let failed = known.ended(false).is_some_and(|end| end.code != Some(0));
            if let (true, false, Some(life)) = (failed, self.lives.is_empty(), known.identity()) {
                self.mourned.insert((peer.clone(), life));
            }
            self.known.insert(peer.clone(), known);
            peers.push(peer);
        }
        self.outside.ask(urls);
        Ok(peers.into_iter().filter_map(|peer| self.news_of(&peer)).collect())
    }

    fn make(&self, directory: &Path) -> Result<(), GraveyardError> {
        directory::make(directory, self.plan.mode)
            .map_err(|source| GraveyardError::Directory { path: directory.to_owned(), source })
    }

    /// A tombstone that is to be carved, and what stands on it.
    fn open(&self, name: &str) -> Result<(TombstoneWriter, Option<Tombstone>), GraveyardError> {
        self.make(&self.plan.directory)?;
        let (carver, before) = TombstoneWriter::begin(&self.plan.directory, self.plan.mode, name);
        if carver.has_another_keeper() {
            log::warn!(file:% = carver.path().display(); "another process that is alive carves this tombstone: two of the same name");
        }
        Ok((carver, before))
    }

    fn own(&mut self, of: Option<JobId>, name: String, carver: Option<TombstoneWriter>) {
        if let Some(carver) = carver {
            self.carvers.insert(name.clone(), carver);
        }
        self.owners.insert(name.clone(), of);
        self.stones.insert(of, name);
    }

    /// What a life before this one has left.
    fn load_previous(&mut self, before: Option<Tombstone>) {
        if let Some(stone) = before {
            self.lives.extend(stone.identity());
            self.mourned.extend(stone.mourns);
        }
    }

    /// Carves. What cannot be carved is tried again with the next change.
    pub fn carve(&mut self, of: Option<JobId>, stone: &LifecycleRecord) -> Result<(), GraveyardError> {
        let Some(name) = self.stones.get(&of).filter(|name| self.owners.get(*name) == Some(&of)) else {
            // Another has taken its place.
            return Ok(());
        };
        let mourns = self.mourns(stone.died.is_some());
        let Some(carver) = self.carvers.get_mut(name) else { return Ok(()) };
        let path = carver.path().to_owned();
        carver
            .carve(stone, mourns, self.moment.look(self.clock))
            .map_err(|source| GraveyardError::Carve { path, source })
    }

    /// A process is not planned any more, and has ended.
    pub fn forget(&mut self, of: JobId) {
        if let Some(name) = self.stones.remove(&Some(of))
            && self.owners.get(&name) == Some(&Some(of))
        {
            self.owners.remove(&name);
            self.carvers.remove(&name);
        }
    }

    /// The lives that are over and were dealt with before us; and, if we have `died`, by our own end.
    fn mourns(&self, died: bool) -> BTreeSet<(String, String)> {
        let newest = |peer: &str| self.known.get(peer).and_then(Known::identity);
        let kept = self.mourned.iter().filter(|(peer, life)| newest(peer).is_none_or(|it| it == *life));
        let dead = self.doom.iter().filter_map(|peer| {
            let known = self.known.get(peer).filter(|known| died && known.ended(false).is_some())?;
            Some((peer.clone(), known.identity()?))
        });
        kept.cloned().chain(dead).collect()
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

    /// Waits for news of peers.
    pub async fn changes(&mut self) -> Vec<(String, PeerStatus)> {
        let mut news = Vec::new();
        tokio::select! {
            changed = self.watch.changes() => {
                if changed.taken {
                    self.restore();
                }
                for (peer, found) in changed.found {
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
    fn news_of(&mut self, peer: &str) -> Option<(String, PeerStatus)> {
        let known = self.known.get_mut(peer)?;
        let mourned = known.identity().is_some_and(|life| self.mourned.contains(&(peer.to_owned(), life)))
            || known
                .stone()
                .is_some_and(|stone| stone.mourns.iter().any(|(_, life)| self.lives.contains(life)));
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
    fn ended(&self, mourned: bool) -> Option<PeerExit> {
        let end = |code| Some(PeerExit { code, stale: mourned });
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
    fn sighting(&self, mourned: bool, api: bool) -> PeerStatus {
        let ended = self.ended(mourned);
        let alive = self.stone().is_some_and(|stone| stone.born.is_some()) && ended.is_none();
        // kubexit cannot say that it is ready: where nobody else can either, its birth has to do.
        let by_stone =
            self.stone().is_some_and(|stone| stone.ready.is_some() || (stone.incarnation.is_none() && !api));
        let said = self.said.as_ref();
        PeerStatus {
            started: alive || said.is_some_and(|word| word.started && ended.is_none()),
            // The API is told later than others see.
            ready: (alive && by_stone)
                || said.is_some_and(|word| word.ready && (self.stone().is_none() || ended.is_none())),
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
        assert_eq!(known.sighting(false, false), PeerStatus { started: true, ready: true, ended: None });
        assert!(!known.sighting(false, true).ready, "the API has not answered yet");
        known.said = Some(PeerReport { started: true, ready: true, ..PeerReport::default() });
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
        let end = |old| Some(PeerExit { code: Some(3), stale: old });
        assert_eq!(
            dead.sighting(false, false),
            PeerStatus { started: false, ready: false, ended: end(false) }
        );
        assert_eq!(dead.sighting(true, false), PeerStatus { started: false, ready: false, ended: end(true) });
        let mut gone = stone(&format!("{BORN}Ready: 2026-11-21T06:41:23Z\nIncarnation: x\n"));
        gone.stone.as_mut().unwrap_or_else(|| unreachable!()).abandoned = true;
        let ended = Some(PeerExit { code: None, stale: false });
        assert_eq!(gone.sighting(false, false), PeerStatus { started: false, ready: false, ended });
    }

    #[test]
    fn whoever_carves_nothing_is_known_from_outside() {
        let word = PeerReport { started: false, ready: true, ended: Some(0), identity: Some("0".to_owned()) };
        let known = Known { said: Some(word), ..Known::default() };
        let ended = Some(PeerExit { code: Some(0), stale: false });
        assert_eq!(known.sighting(false, false), PeerStatus { started: false, ready: true, ended });
        assert_eq!(Known::default().sighting(false, false), PeerStatus::default());
    }
}
