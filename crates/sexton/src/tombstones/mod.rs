//! Births and deaths across the containers of a pod, signalled by tombstone files in a shared directory.
//!
//! ```text
//! engine ─Effect::Carve─► carver ─► <graveyard>/<name> ─► watch ─Event::Seen─► engine of another container
//! ```
//!
//! * [`tombstone`]: the contents of the file
//! * [`directory`]: the directory of the tombstones
//! * [`writer`]: writes the file atomically, and holds a lock on it while sexton is alive
//! * [`watch`]: detects changes of other tombstones, and that their writers were killed
//! * [`external_peers`]: status of peers without tombstones, from the Kubernetes API and HTTP servers
//! * [`Graveyard`]: all of that, for the driver
//!
//! **Old deaths.** A shared directory outlives a restart of containers. A death is old, and does not immediately stop the
//! process, if
//!
//! * the previous incarnation has already handled it: its tombstone lists the incarnations that had exited (`Mourns`),
//! * or the peer's tombstone lists a previous incarnation of this process: the peer exited because of it,
//! * or sexton was restarted and finds that the peer has failed: the peer will be restarted as well.
//!
//! The peer is expected to restart; its death only counts if it has not done so within a timeout. An incarnation is
//! identified by `Incarnation`, and that of kubexit, which has none, by `Born`.

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

/// The reason why the graveyard cannot be used.
#[derive(Debug, Error)]
pub enum GraveyardError {
    /// The directory cannot be created or read.
    #[error("cannot use graveyard {}: {}", path.display(), describe(source))]
    Directory { path: PathBuf, source: io::Error },
    /// A tombstone cannot be written.
    #[error("cannot write tombstone {}: {}", path.display(), describe(source))]
    Carve { path: PathBuf, source: io::Error },
    /// The Kubernetes API cannot be used.
    #[error("cannot use the Kubernetes API: {0}")]
    Api(#[from] k8s::KubeError),
}

/// The own tombstones and the watched peers.
pub struct Graveyard {
    plan: PodPlan,
    clock: Clock,
    moment: Moment,
    /// Writers by name of the tombstone.
    writers: BTreeMap<String, TombstoneWriter>,
    /// Names of tombstones by process; None: that of sexton as a whole.
    stones: BTreeMap<Option<JobId>, String>,
    /// The process that owns each tombstone: where one process replaces another, the new one.
    owners: BTreeMap<String, Option<JobId>>,
    watch: Watch,
    outside: ExternalPeers,
    /// Deaths that previous incarnations have handled: name and identity.
    handled: BTreeSet<(String, String)>,
    /// The previous incarnations of the own tombstones.
    own_incarnations: BTreeSet<String>,
    /// Peers whose death stops a process.
    doom: BTreeSet<String>,
    /// The state of each peer.
    known: BTreeMap<String, PeerState>,
}

#[derive(Debug, Clone, Default)]
struct PeerState {
    stone: Option<Found>,
    external: Option<PeerReport>,
    published: Option<PeerStatus>,
}

/// Peers to watch and tombstones to write.
#[derive(Debug, Clone, Default)]
pub struct TombstoneTargets {
    /// Peers that a start waits for.
    pub awaited: BTreeSet<String>,
    /// Peers whose death stops a process.
    pub doom: BTreeSet<String>,
    /// The tombstones of processes.
    pub stones: Vec<(JobId, String)>,
}

impl Graveyard {
    /// Creates the directory, if it is needed, and reads all watched tombstones.
    pub fn begin(
        plan: PodPlan,
        targets: TombstoneTargets,
        clock: Clock,
    ) -> Result<(Self, Vec<(String, PeerStatus)>), GraveyardError> {
        let mut this = Self {
            watch: Watch::new(plan.mode, plan.poll),
            writers: BTreeMap::new(),
            stones: BTreeMap::new(),
            owners: BTreeMap::new(),
            outside: ExternalPeers::default(),
            handled: BTreeSet::new(),
            own_incarnations: BTreeSet::new(),
            doom: BTreeSet::new(),
            known: BTreeMap::new(),
            plan,
            clock,
            moment: Moment::default(),
        };
        if let Some(name) = this.plan.name.clone() {
            let (writer, before) = this.open(&name)?;
            this.register(None, name, Some(writer));
            this.load_previous(before);
        }
        let updates = this.set_targets(targets)?;
        Ok((this, updates))
    }

    /// The pod settings.
    #[must_use]
    pub const fn plan(&self) -> &PodPlan {
        &self.plan
    }

    /// Changes the watched peers and the written tombstones. On error nothing is changed.
    pub fn set_targets(
        &mut self,
        targets: TombstoneTargets,
    ) -> Result<Vec<(String, PeerStatus)>, GraveyardError> {
        let mut opened = BTreeMap::new();
        for (_, name) in &targets.stones {
            if !self.writers.contains_key(name) && !opened.contains_key(name) {
                opened.insert(name.clone(), self.open(name)?);
            }
        }
        let mut files = BTreeSet::new();
        let mut urls = BTreeSet::new();
        for peer in targets.awaited.union(&targets.doom) {
            match PeerName::of(peer) {
                PeerName::Url => drop(urls.insert(peer.clone())),
                name => drop(files.insert((name.path(&self.plan.directory), peer.clone()))),
            }
        }
        for directory in files.iter().filter_map(|(path, _)| path.parent()) {
            self.make(directory)?;
        }
        if let Some(api) = self.plan.api.as_ref().filter(|_| !files.is_empty()) {
            let needed = targets.awaited.iter().any(|peer| PeerName::of(peer) != PeerName::Url);
            match self.outside.watch_api(api) {
                Err(error) if needed => return Err(error),
                Err(error) => log::warn!("{error}; exits are detected by tombstones only"),
                Ok(()) => {}
            }
        }
        // No errors from here on.
        for (id, name) in targets.stones {
            let (writer, before) = opened.remove(&name).unzip();
            self.register(Some(id), name, writer);
            self.load_previous(before.flatten());
        }
        self.doom = targets.doom;
        self.known.retain(|name, _| targets.awaited.contains(name) || self.doom.contains(name));
        let mut peers = Vec::new();
        for (peer, found) in self.watch.watch_files(files) {
            let known = PeerState { stone: Some(found), ..self.known.remove(&peer).unwrap_or_default() };
            let failed = known.ended(false).is_some_and(|end| end.code != Some(0));
            if let (true, false, Some(incarnation)) =
                (failed, self.own_incarnations.is_empty(), known.identity())
            {
                self.handled.insert((peer.clone(), incarnation));
            }
            self.known.insert(peer.clone(), known);
            peers.push(peer);
        }
        self.outside.poll_servers(urls);
        Ok(peers.into_iter().filter_map(|peer| self.update_of(&peer)).collect())
    }

    fn make(&self, directory: &Path) -> Result<(), GraveyardError> {
        directory::create(directory, self.plan.mode)
            .map_err(|source| GraveyardError::Directory { path: directory.to_owned(), source })
    }

    /// Opens the writer of a tombstone, and returns the tombstone of the previous incarnation.
    fn open(&self, name: &str) -> Result<(TombstoneWriter, Option<Tombstone>), GraveyardError> {
        self.make(&self.plan.directory)?;
        let (writer, before) = TombstoneWriter::begin(&self.plan.directory, self.plan.mode, name);
        if writer.has_other_writer() {
            log::warn!(file:% = writer.path().display(); "a running process already writes this tombstone: duplicate name");
        }
        Ok((writer, before))
    }

    fn register(&mut self, of: Option<JobId>, name: String, writer: Option<TombstoneWriter>) {
        if let Some(writer) = writer {
            self.writers.insert(name.clone(), writer);
        }
        self.owners.insert(name.clone(), of);
        self.stones.insert(of, name);
    }

    /// Adopts the state of the previous incarnation.
    fn load_previous(&mut self, before: Option<Tombstone>) {
        if let Some(stone) = before {
            self.own_incarnations.extend(stone.identity());
            self.handled.extend(stone.mourns);
        }
    }

    /// Writes a tombstone. A failed write is retried with the next change.
    pub fn carve(&mut self, of: Option<JobId>, stone: &LifecycleRecord) -> Result<(), GraveyardError> {
        let Some(name) = self.stones.get(&of).filter(|name| self.owners.get(*name) == Some(&of)) else {
            // Another process owns the tombstone now.
            return Ok(());
        };
        let mourns = self.mourns(stone.died.is_some());
        let Some(writer) = self.writers.get_mut(name) else { return Ok(()) };
        let path = writer.path().to_owned();
        writer
            .update(stone, mourns, self.moment.look(self.clock))
            .map_err(|source| GraveyardError::Carve { path, source })
    }

    /// Removes the tombstone writer of a process that was removed from the configuration and has exited.
    pub fn forget(&mut self, of: JobId) {
        if let Some(name) = self.stones.remove(&Some(of))
            && self.owners.get(&name) == Some(&Some(of))
        {
            self.owners.remove(&name);
            self.writers.remove(&name);
        }
    }

    /// The value of `Mourns`: deaths handled by previous incarnations and, if `died`, those handled by this exit.
    fn mourns(&self, died: bool) -> BTreeSet<(String, String)> {
        let newest = |peer: &str| self.known.get(peer).and_then(PeerState::identity);
        let kept = self
            .handled
            .iter()
            .filter(|(peer, incarnation)| newest(peer).is_none_or(|it| it == *incarnation));
        let dead = self.doom.iter().filter_map(|peer| {
            let known = self.known.get(peer).filter(|known| died && known.ended(false).is_some())?;
            Some((peer.clone(), known.identity()?))
        });
        kept.cloned().chain(dead).collect()
    }

    /// Writes tombstones again that were removed. (A removed directory does not disappear while a tombstone in it is
    /// open, so its removal is not reported; the removal of its files is.)
    fn restore(&mut self) {
        for writer in self.writers.values_mut() {
            if let Err(error) = writer.restore() {
                log::warn!(file:% = writer.path().display(); "cannot restore the tombstone: {}", describe(&error));
            }
        }
    }

    /// Waits for changes of peers.
    pub async fn changes(&mut self) -> Vec<(String, PeerStatus)> {
        let mut updates = Vec::new();
        tokio::select! {
            changed = self.watch.changes() => {
                if changed.removed {
                    self.restore();
                }
                for (peer, found) in changed.found {
                    self.known.entry(peer.clone()).or_default().stone = Some(found);
                    updates.extend(self.update_of(&peer));
                }
            },
            external = self.outside.reports() => for (peer, report) in external {
                // The API reports all containers of the pod.
                if self.known.contains_key(&peer) || self.outside.polls(&peer) {
                    self.known.entry(peer.clone()).or_default().external = Some(report);
                    updates.extend(self.update_of(&peer));
                }
            }
        }
        updates
    }

    /// The status of a peer, if it changed.
    fn update_of(&mut self, peer: &str) -> Option<(String, PeerStatus)> {
        let known = self.known.get_mut(peer)?;
        let handled = known
            .identity()
            .is_some_and(|incarnation| self.handled.contains(&(peer.to_owned(), incarnation)))
            || known.stone().is_some_and(|stone| {
                stone.mourns.iter().any(|(_, incarnation)| self.own_incarnations.contains(incarnation))
            });
        let status = known.status(handled, self.plan.api.is_some());
        if known.published == Some(status) {
            return None;
        }
        known.published = Some(status);
        Some((peer.to_owned(), status))
    }

    /// The quit requests to send for this exit code.
    #[must_use]
    pub fn to_quit(&self, code: i32) -> &[Quit] {
        if self.plan.quit_on_success_only && code != 0 { &[] } else { &self.plan.quit }
    }
}

impl PeerState {
    fn stone(&self) -> Option<&Tombstone> {
        self.stone.as_ref().and_then(|found| found.stone.as_ref())
    }

    /// The exit of the newest incarnation, if it has exited.
    fn ended(&self, handled: bool) -> Option<PeerExit> {
        let end = |code| Some(PeerExit { code, stale: handled });
        match (&self.stone, &self.external) {
            (Some(Found { stone: Some(stone), .. }), _) if stone.died.is_some() => end(stone.exit_code),
            (Some(Found { stone: Some(_), abandoned: true }), _) => end(None),
            (Some(Found { stone: Some(_), .. }), _) => None,
            // Without a tombstone, only external status is known.
            (_, external) => external.as_ref()?.ended.and_then(|code| end(Some(code))),
        }
    }

    fn identity(&self) -> Option<String> {
        match self.stone() {
            Some(stone) => stone.identity(),
            None => self.external.as_ref()?.identity.clone(),
        }
    }

    /// The status of the peer. `api`: the Kubernetes API reports readiness.
    fn status(&self, handled: bool, api: bool) -> PeerStatus {
        let ended = self.ended(handled);
        let alive = self.stone().is_some_and(|stone| stone.born.is_some()) && ended.is_none();
        // kubexit cannot report readiness: without the API, its birth counts as ready.
        let by_stone =
            self.stone().is_some_and(|stone| stone.ready.is_some() || (stone.incarnation.is_none() && !api));
        let external = self.external.as_ref();
        PeerStatus {
            started: alive || external.is_some_and(|report| report.started && ended.is_none()),
            // The API lags behind the tombstone.
            ready: (alive && by_stone)
                || external.is_some_and(|report| report.ready && (self.stone().is_none() || ended.is_none())),
            ended,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stone(text: &str) -> PeerState {
        let stone = Tombstone::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        PeerState { stone: Some(Found { stone: Some(stone), abandoned: false }), ..PeerState::default() }
    }

    const BORN: &str = "Born: 2026-11-21T06:41:22.120834821Z\n";

    #[test]
    fn treats_birth_of_kubexit_as_readiness_unless_the_api_is_used() {
        let mut known = stone(BORN);
        assert_eq!(known.status(false, false), PeerStatus { started: true, ready: true, ended: None });
        assert!(!known.status(false, true).ready, "the API has not responded yet");
        known.external = Some(PeerReport { started: true, ready: true, ..PeerReport::default() });
        assert!(known.status(false, true).ready);
        // Tombstones of sexton state readiness themselves.
        assert!(!stone(&format!("{BORN}Incarnation: x\n")).status(false, false).ready);
        assert!(
            stone(&format!("{BORN}Ready: 2026-11-21T06:41:23Z\nIncarnation: x\n")).status(false, false).ready
        );
    }

    #[test]
    fn is_neither_started_nor_ready_after_death() {
        let dead = stone(&format!(
            "{BORN}Ready: 2026-11-21T06:41:23Z\nDied: 2026-11-21T06:42:22Z\nExitCode: 3\nIncarnation: x\n"
        ));
        let end = |old| Some(PeerExit { code: Some(3), stale: old });
        assert_eq!(dead.status(false, false), PeerStatus { started: false, ready: false, ended: end(false) });
        assert_eq!(dead.status(true, false), PeerStatus { started: false, ready: false, ended: end(true) });
        let mut gone = stone(&format!("{BORN}Ready: 2026-11-21T06:41:23Z\nIncarnation: x\n"));
        gone.stone.as_mut().unwrap_or_else(|| unreachable!()).abandoned = true;
        let ended = Some(PeerExit { code: None, stale: false });
        assert_eq!(gone.status(false, false), PeerStatus { started: false, ready: false, ended });
    }

    #[test]
    fn uses_external_status_without_a_tombstone() {
        let report =
            PeerReport { started: false, ready: true, ended: Some(0), identity: Some("0".to_owned()) };
        let known = PeerState { external: Some(report), ..PeerState::default() };
        let ended = Some(PeerExit { code: Some(0), stale: false });
        assert_eq!(known.status(false, false), PeerStatus { started: false, ready: true, ended });
        assert_eq!(PeerState::default().status(false, false), PeerStatus::default());
    }
}
