//! What is said of peers by those who are not in the graveyard: the Kubernetes API of the containers of a pod, and
//! HTTP servers of themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use k8s::watch::{Update, watch_pod};
use k8s::{Client, Config, ContainerState, PodState, State};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::GraveyardError;
use crate::probes::http;
use spec::environment::{Environment as _, Real};
use spec::pod::ApiPlan;
use spec::probe::HttpCheck;

/// Between requests to a server that is not ready: at first and at most.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is said of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerReport {
    /// It is there.
    pub started: bool,
    /// It is ready.
    pub ready: bool,
    /// It has ended, with this exit code.
    pub ended: Option<i32>,
    /// Which life that was.
    pub identity: Option<String>,
}

/// Asks them.
pub struct ExternalPeers {
    sender: mpsc::UnboundedSender<Vec<(String, PeerReport)>>,
    receiver: mpsc::UnboundedReceiver<Vec<(String, PeerReport)>>,
    servers: BTreeMap<String, AbortHandle>,
    api: Option<AbortHandle>,
}

impl ExternalPeers {
    /// Asks the API from now on. Needs a runtime.
    pub fn ask_api(&mut self, plan: &ApiPlan) -> Result<(), GraveyardError> {
        if self.api.is_some() {
            return Ok(());
        }
        let variable = |name: &str| Real.get(name).map(|value| value.to_string_lossy().into_owned());
        let directory = variable("SEXTON_SERVICE_ACCOUNT").unwrap_or_else(|| k8s::SERVICE_ACCOUNT.to_owned());
        let config = Config::in_cluster(variable, Path::new(&directory))?;
        let namespace = plan.namespace.clone().or_else(|| config.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let task = ask_api(Client::new(config)?, namespace, plan.pod.clone(), self.sender.clone());
        self.api = Some(tokio::spawn(task).abort_handle());
        Ok(())
    }

    /// Is this server asked?
    #[must_use]
    pub fn asks(&self, url: &str) -> bool {
        self.servers.contains_key(url)
    }

    /// Asks these servers until they are ready, and no others.
    pub fn ask(&mut self, urls: BTreeSet<String>) {
        self.servers.retain(|url, task| {
            let stays = urls.contains(url);
            if !stays {
                task.abort();
            }
            stays
        });
        for url in urls {
            let sender = self.sender.clone();
            let task = || tokio::spawn(ask_server(url.clone(), sender)).abort_handle();
            self.servers.entry(url.clone()).or_insert_with(task);
        }
    }

    /// Waits for what is said; for ever, if nobody is asked.
    pub async fn words(&mut self) -> Vec<(String, PeerReport)> {
        match self.receiver.recv().await {
            Some(words) => words,
            None => std::future::pending().await,
        }
    }
}

impl Default for ExternalPeers {
    /// Asks nobody yet.
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        Self { sender, receiver, servers: BTreeMap::new(), api: None }
    }
}

impl Drop for ExternalPeers {
    fn drop(&mut self) {
        for task in self.servers.values().chain(&self.api) {
            task.abort();
        }
    }
}

async fn ask_api(
    client: Client,
    namespace: String,
    pod: String,
    words: mpsc::UnboundedSender<Vec<(String, PeerReport)>>,
) {
    let (updates, mut news) = mpsc::channel(16);
    let watching = watch_pod(&client, &namespace, &pod, updates);
    let telling = async {
        while let Some(update) = news.recv().await {
            match update {
                Update::Pod(Some(pod)) => drop(words.send(words_of(&pod))),
                Update::Pod(None) => log::warn!(pod:% = pod, namespace:% = namespace; "there is no such pod"),
                Update::Trouble(error) => log::warn!(pod:% = pod; "the Kubernetes API: {error}"),
            }
        }
    };
    let (ended, ()) = tokio::join!(watching, telling);
    if let Err(error) = ended {
        log::error!(pod:% = pod; "the Kubernetes API is not asked any more: {error}");
    }
}

fn words_of(pod: &PodState) -> Vec<(String, PeerReport)> {
    pod.containers.iter().map(|container| (container.name.clone(), word_of(container))).collect()
}

fn word_of(container: &ContainerState) -> PeerReport {
    let running = matches!(container.state, State::Running);
    let ended = match &container.state {
        State::Terminated { exit_code, .. } => Some(*exit_code),
        State::Waiting { .. } | State::Running => None,
    };
    PeerReport {
        // Before Kubernetes knew 'started' it was not said.
        started: container.started || running,
        ready: container.ready,
        ended,
        identity: Some(format!("restart {}", container.restart_count)),
    }
}

/// Asks a server until it answers that it is ready. Nobody asks it again then: we waited for it, and it is there.
async fn ask_server(url: String, words: mpsc::UnboundedSender<Vec<(String, PeerReport)>>) {
    let Ok(check) = HttpCheck::of_url(&url) else { return };
    let mut pause = ASK_AGAIN.0;
    let mut last = String::new();
    loop {
        let reason = match timeout(PATIENCE, http::passes(&check)).await {
            Ok(Ok(())) => break,
            Ok(Err(problem)) => problem.to_string(),
            Err(_) => format!("no answer within {PATIENCE:?}"),
        };
        if reason != last {
            log::info!(url:% = url; "not ready: {reason}");
            last = reason;
        }
        sleep(pause).await;
        pause = (pause * 2).min(ASK_AGAIN.1);
    }
    let ready = PeerReport { started: true, ready: true, ..PeerReport::default() };
    let _ = words.send(vec![(url, ready)]);
}

/// Tells those to end who are to end with us. False: somebody did not hear who has to.
pub async fn tell_to_quit(whom: &[spec::pod::Quit]) -> bool {
    let mut all_well = true;
    for quit in whom {
        let url = &quit.url;
        let Ok(check) = HttpCheck::of_url(url) else { continue };
        let mut pause = ASK_AGAIN.0;
        let mut reason = String::new();
        let told = timeout(quit.timeout, async {
            while let Err(problem) = http::post(&check).await {
                reason = problem.to_string();
                sleep(pause).await;
                pause = (pause * 2).min(ASK_AGAIN.1);
            }
        });
        match told.await {
            Ok(()) => log::info!(url:% = url; "told to end"),
            Err(_) => {
                let timeout = quit.timeout;
                let why = if reason.is_empty() { "no answer" } else { &reason };
                log::warn!(url:% = url; "not told to end within {timeout:?}: {why}");
                all_well &= !quit.fatal;
            }
        }
    }
    all_well
}
