//! Status of peers from outside the graveyard: containers of the pod from the Kubernetes API, and HTTP servers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use k8s::watch::{Update, watch_pod};
use k8s::{Client, Config, ContainerState, PodState, RunState};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::GraveyardError;
use crate::probes;
use spec::environment::{Environment as _, Real};
use spec::pod::ApiPlan;
use spec::probe::HttpCheck;

/// Delay between requests to a server that is not ready: initial and maximum.
const RETRY_DELAY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// The timeout of one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// The reported status of a peer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerReport {
    pub started: bool,
    pub ready: bool,
    /// Exit code, once it has exited.
    pub ended: Option<i32>,
    /// Identifies the incarnation.
    pub identity: Option<String>,
}

/// The tasks that query the API and the servers.
pub struct ExternalPeers {
    sender: mpsc::UnboundedSender<Vec<(String, PeerReport)>>,
    receiver: mpsc::UnboundedReceiver<Vec<(String, PeerReport)>>,
    servers: BTreeMap<String, AbortHandle>,
    api: Option<AbortHandle>,
}

impl ExternalPeers {
    /// Starts to watch the API. Must be called within a runtime.
    pub fn watch_api(&mut self, plan: &ApiPlan) -> Result<(), GraveyardError> {
        if self.api.is_some() {
            return Ok(());
        }
        let variable = |name: &str| Real.get(name).map(|value| value.to_string_lossy().into_owned());
        let directory = variable("SEXTON_SERVICE_ACCOUNT").unwrap_or_else(|| k8s::SERVICE_ACCOUNT.to_owned());
        let config = Config::in_cluster(variable, Path::new(&directory))?;
        let namespace = plan.namespace.clone().or_else(|| config.namespace.clone());
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        let task = watch_api(Client::new(config)?, namespace, plan.pod.clone(), self.sender.clone());
        self.api = Some(tokio::spawn(task).abort_handle());
        Ok(())
    }

    /// Whether this server is polled.
    #[must_use]
    pub fn polls(&self, url: &str) -> bool {
        self.servers.contains_key(url)
    }

    /// Polls these servers until they are ready, and no others.
    pub fn poll_servers(&mut self, urls: BTreeSet<String>) {
        self.servers.retain(|url, task| {
            let stays = urls.contains(url);
            if !stays {
                task.abort();
            }
            stays
        });
        for url in urls {
            let sender = self.sender.clone();
            let task = || tokio::spawn(poll_server(url.clone(), sender)).abort_handle();
            self.servers.entry(url.clone()).or_insert_with(task);
        }
    }

    /// Waits for reports; forever if there are no sources.
    pub async fn reports(&mut self) -> Vec<(String, PeerReport)> {
        match self.receiver.recv().await {
            Some(reports) => reports,
            None => std::future::pending().await,
        }
    }
}

impl Default for ExternalPeers {
    /// No sources yet.
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

async fn watch_api(
    client: Client,
    namespace: String,
    pod: String,
    reports: mpsc::UnboundedSender<Vec<(String, PeerReport)>>,
) {
    let (updates, mut news) = mpsc::channel(16);
    let watching = watch_pod(&client, &namespace, &pod, updates);
    let forwarding = async {
        while let Some(update) = news.recv().await {
            match update {
                Update::Pod(Some(pod)) => drop(reports.send(reports_of(&pod))),
                Update::Pod(None) => log::warn!(pod:% = pod, namespace:% = namespace; "pod not found"),
                Update::Failed(error) => log::warn!(pod:% = pod; "Kubernetes API error: {error}"),
            }
        }
    };
    let (ended, ()) = tokio::join!(watching, forwarding);
    if let Err(error) = ended {
        log::error!(pod:% = pod; "stopped watching the Kubernetes API: {error}");
    }
}

fn reports_of(pod: &PodState) -> Vec<(String, PeerReport)> {
    pod.containers.iter().map(|container| (container.name.clone(), report_of(container))).collect()
}

fn report_of(container: &ContainerState) -> PeerReport {
    let running = matches!(container.state, RunState::Running);
    let ended = match &container.state {
        RunState::Terminated { exit_code, .. } => Some(*exit_code),
        RunState::Waiting { .. } | RunState::Running => None,
    };
    PeerReport {
        // Older Kubernetes versions do not report 'started'.
        started: container.started || running,
        ready: container.ready,
        ended,
        identity: Some(format!("restart {}", container.restart_count)),
    }
}

/// Polls a server until it is ready.
async fn poll_server(url: String, reports: mpsc::UnboundedSender<Vec<(String, PeerReport)>>) {
    let Ok(check) = HttpCheck::of_url(&url) else { return };
    let mut pause = RETRY_DELAY.0;
    let mut last = String::new();
    loop {
        let reason = match timeout(REQUEST_TIMEOUT, probes::http::passes(&check)).await {
            Ok(Ok(())) => break,
            Ok(Err(problem)) => problem.to_string(),
            Err(_) => format!("no response within {REQUEST_TIMEOUT:?}"),
        };
        if reason != last {
            log::info!(url:% = url; "not ready: {reason}");
            last = reason;
        }
        sleep(pause).await;
        pause = (pause * 2).min(RETRY_DELAY.1);
    }
    let ready = PeerReport { started: true, ready: true, ..PeerReport::default() };
    let _ = reports.send(vec![(url, ready)]);
}

/// Sends quit requests to servers that are to stop together with sexton. Returns false if a mandatory one failed.
pub async fn tell_to_quit(requests: &[super::Quit]) -> bool {
    let mut succeeded = true;
    for quit in requests {
        let url = &quit.url;
        let Ok(check) = HttpCheck::of_url(url) else { continue };
        let mut pause = RETRY_DELAY.0;
        let mut reason = String::new();
        let request = timeout(quit.timeout, async {
            while let Err(problem) = probes::http::post(&check).await {
                reason = problem.to_string();
                sleep(pause).await;
                pause = (pause * 2).min(RETRY_DELAY.1);
            }
        });
        match request.await {
            Ok(()) => log::info!(url:% = url; "quit request sent"),
            Err(_) => {
                let timeout = quit.timeout;
                let why = if reason.is_empty() { "no response" } else { &reason };
                log::warn!(url:% = url; "quit request failed within {timeout:?}: {why}");
                succeeded &= !quit.fatal;
            }
        }
    }
    succeeded
}
