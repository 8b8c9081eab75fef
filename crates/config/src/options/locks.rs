//! The options of `lock hold` and `lock serve`, and of stores.

use std::path::PathBuf;

use clap::Args;
use schemars::JsonSchema;

use super::{Resolver, UsageError};
use crate::LockServer;
use crate::file::scalars::OneOrMany;
use spec::lock::LockPlan;
use spec::store::StorePlan;

/// The lock of `lock hold`.
#[derive(Debug, Clone, Default, Args)]
pub struct LockOptions {
    /// Time after which the lock expires without renewal [default: 2s]
    #[arg(long, value_name = "DURATION")]
    pub lock_ttl: Option<String>,
    /// URL of the lock server [default: http://localhost:8191]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Name of the lock
    pub lock: String,
}

/// The storage of locks and ensembles: a local file, or etcd.
#[derive(Debug, Clone, Default, Args, JsonSchema)]
#[command(next_help_heading = "Storage")]
#[schemars(rename_all = "camelCase")]
pub struct StoreOptions {
    /// Store everything in this file [default: in /var/lib/sexton, or in ~/.local/state/sexton if not root]
    #[arg(long, value_name = "FILE", conflicts_with = "etcd")]
    pub store: Option<String>,
    /// Store everything in etcd: its nodes, separated by commas, each HOST, HOST:PORT or a URL
    #[arg(long, value_name = "URLS")]
    #[schemars(with = "Option<OneOrMany<String>>")]
    pub etcd: Option<String>,
    /// CA bundle for etcd (PEM)
    #[arg(long, value_name = "FILE")]
    pub etcd_ca: Option<String>,
    /// Client certificate for etcd (PEM)
    #[arg(long, value_name = "FILE")]
    pub etcd_cert: Option<String>,
    /// Key of the client certificate for etcd (PEM)
    #[arg(long, value_name = "FILE")]
    pub etcd_key: Option<String>,
    /// etcd user name
    #[arg(long, value_name = "NAME")]
    pub etcd_user: Option<String>,
    /// File with the password of the etcd user
    #[arg(long, value_name = "FILE")]
    pub etcd_password_file: Option<String>,
}

impl Resolver<'_> {
    pub(super) fn lock(&self, raw: LockOptions) -> Result<LockPlan, UsageError> {
        let ttl = self.duration(raw.lock_ttl, "--lock-ttl", "LOCK_TTL")?.unwrap_or(spec::lock::DEFAULT_TTL);
        let url = self.given(raw.url, "--url", "LOCK_URL")?;
        let url = url.map_or_else(|| spec::lock::DEFAULT_URL.to_owned(), |given| given.text);
        LockPlan::new(&raw.lock, ttl, &url).map_err(UsageError)
    }

    pub(super) fn lock_server(&self, raw: StoreOptions) -> Result<LockServer, UsageError> {
        Ok(LockServer { store: self.store(raw, "locks.store")? })
    }

    /// Resolves a store; `file_name` is the name of the file in the default directory.
    pub(super) fn store(&self, raw: StoreOptions, file_name: &str) -> Result<StorePlan, UsageError> {
        let text = |given: Option<String>, option: &str, own: &str, old: &str| {
            let given = self.text(given, option, own)?;
            let old = || Some(self.environment.get(old)?.to_string_lossy().into_owned());
            Ok::<_, UsageError>(given.or_else(old).filter(|text| !text.is_empty()))
        };
        let etcd = text(raw.etcd, "--etcd", "LOCK_ETCD", "SHARED_LEASE_ETCD_ENDPOINTS")?;
        // As soon as one of the old variables is set, the others have their defaults.
        const OLD: [(&str, &str); 3] = [
            ("SHARED_LEASE_ETCD_CA_CERT", "/cert/tls/ca.crt"),
            ("SHARED_LEASE_ETCD_CLIENT_CERT", "/cert/tls/tls.crt"),
            ("SHARED_LEASE_ETCD_CLIENT_KEY", "/cert/tls/tls.key"),
        ];
        let any_old = OLD.iter().any(|(name, _)| self.environment.get(name).is_some());
        let none_given = raw.etcd_ca.is_none() && raw.etcd_cert.is_none() && raw.etcd_key.is_none();
        let file = |given, option: &str, own: &str, old: &str| {
            let default = OLD.iter().find(|(name, _)| *name == old && any_old && none_given);
            let given = text(given, option, own, old)?;
            let given = given.or_else(|| default.map(|(_, path)| (*path).to_owned()));
            Ok::<_, UsageError>(given.map(PathBuf::from))
        };
        let ca = file(raw.etcd_ca, "--etcd-ca", "LOCK_ETCD_CA", "SHARED_LEASE_ETCD_CA_CERT")?;
        let certificate =
            file(raw.etcd_cert, "--etcd-cert", "LOCK_ETCD_CERT", "SHARED_LEASE_ETCD_CLIENT_CERT")?;
        let key = file(raw.etcd_key, "--etcd-key", "LOCK_ETCD_KEY", "SHARED_LEASE_ETCD_CLIENT_KEY")?;
        let user = self.text(raw.etcd_user, "--etcd-user", "LOCK_ETCD_USER")?;
        let password =
            self.text(raw.etcd_password_file, "--etcd-password-file", "LOCK_ETCD_PASSWORD_FILE")?;
        let password = password.map(PathBuf::from);
        let store = self.given(raw.store, "--store", "LOCK_STORE")?;
        if certificate.is_some() != key.is_some() {
            return Err(UsageError("--etcd-cert and --etcd-key must be given together".to_owned()));
        }
        if user.is_some() != password.is_some() {
            let why = "--etcd-user and --etcd-password-file must be given together";
            return Err(UsageError(why.to_owned()));
        }
        let Some(etcd) = etcd else {
            let path = store.map_or_else(|| self.default_store(file_name), |given| PathBuf::from(given.text));
            return Ok(StorePlan::Embedded(path));
        };
        if let Some(store) = store.filter(|store| store.typed) {
            return Err(UsageError(format!("{} and --etcd are mutually exclusive", store.origin)));
        }
        let endpoints = etcd.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty());
        let identity = certificate.zip(key);
        let user = user.zip(password);
        Ok(StorePlan::Etcd { endpoints: endpoints.collect(), ca, identity, user })
    }

    /// The default path of the embedded store.
    fn default_store(&self, file_name: &str) -> PathBuf {
        let file = PathBuf::from("sexton").join(file_name);
        if rustix::process::geteuid().is_root() {
            return PathBuf::from("/var/lib").join(file);
        }
        let state = self.environment.get("XDG_STATE_HOME").map(PathBuf::from);
        let home = || Some(PathBuf::from(self.environment.get("HOME")?).join(".local/state"));
        state.or_else(home).unwrap_or_else(|| PathBuf::from(".")).join(file)
    }
}
