//! A fake Kubernetes API server, and the service account of the pod.

use k8s::fake::FakeApiServer;
use testkit::{TempDir, private_directory};

use crate::harness::Sexton;

pub(crate) struct Cluster {
    pub(crate) server: FakeApiServer,
    pub(crate) account: TempDir,
    pub(crate) variables: [(&'static str, String); 2],
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let account = private_directory();
        let server = FakeApiServer::start(account.path());
        let variables = server.write_service_account(account.path());
        Self { server, account, variables }
    }

    /// In a pod of this cluster.
    pub(crate) fn seen_by(&self, mut sexton: Sexton) -> Sexton {
        for (name, value) in &self.variables {
            sexton = sexton.env(name, value);
        }
        sexton.env("SEXTON_SERVICE_ACCOUNT", self.account.path())
    }
}
