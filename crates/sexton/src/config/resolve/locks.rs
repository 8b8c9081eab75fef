//! The options of `lock hold` and `lock serve`, and of stores.

use std::path::PathBuf;

use super::{Resolver, UsageError};
use crate::config::LockServer;
use crate::locks;
use crate::locks::LockPlan;
use spec::store::StorePlan;

/// The lock of `lock hold`, as it was written.
#[derive(Debug, Clone, Default)]
pub struct RawLock {
    /// Its name.
    pub name: String,
    /// `--lock-ttl`
    pub ttl: Option<String>,
    /// `--url`
    pub url: Option<String>,
}

/// Where something is kept, as it was written.
#[derive(Debug, Clone, Default)]
pub struct RawStore {
    /// `--store`
    pub store: Option<String>,
    /// `--etcd`
    pub etcd: Option<String>,
    /// `--etcd-ca`
    pub etcd_ca: Option<String>,
    /// `--etcd-cert`
    pub etcd_cert: Option<String>,
    /// `--etcd-key`
    pub etcd_key: Option<String>,
    /// `--etcd-user`
    pub etcd_user: Option<String>,
    /// `--etcd-password-file`
    pub etcd_password_file: Option<String>,
}

impl Resolver<'_> {
    pub(super) fn lock(&self, raw: RawLock) -> Result<LockPlan, UsageError> {
        let ttl = self.duration(raw.ttl, "--lock-ttl", "LOCK_TTL")?.unwrap_or(locks::DEFAULT_TTL);
        let url = self.given(raw.url, "--url", "LOCK_URL")?;
        let url = url.map_or_else(|| locks::DEFAULT_URL.to_owned(), |given| given.text);
        LockPlan::new(&raw.name, ttl, &url).map_err(UsageError)
    }

    pub(super) fn lock_server(&self, raw: RawStore) -> Result<LockServer, UsageError> {
        Ok(LockServer { store: self.store(raw, "locks.store")? })
    }

    /// A store; `file` is the name of its file by default.
    pub(super) fn store(&self, raw: RawStore, file_name: &str) -> Result<StorePlan, UsageError> {
        let text = |given: Option<String>, option: &str, own: &str, old: &str| {
            let given = self.given(given, option, own)?.map(|given| given.text);
            let old = || Some(self.environment.get(old)?.to_string_lossy().into_owned());
            Ok::<_, UsageError>(given.or_else(old).filter(|text| !text.is_empty()))
        };
        let etcd = text(raw.etcd, "--etcd", "LOCK_ETCD", "SHARED_LEASE_ETCD_ENDPOINTS")?;
        // Of the old variables the others have their defaults as soon as one is set.
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
        let user = self.given(raw.etcd_user, "--etcd-user", "LOCK_ETCD_USER")?.map(|given| given.text);
        let password =
            self.given(raw.etcd_password_file, "--etcd-password-file", "LOCK_ETCD_PASSWORD_FILE")?;
        let password = password.map(|given| PathBuf::from(given.text));
        let store = self.given(raw.store, "--store", "LOCK_STORE")?;
        if certificate.is_some() != key.is_some() {
            return Err(UsageError("--etcd-cert and --etcd-key go together: give both or none".to_owned()));
        }
        if user.is_some() != password.is_some() {
            let words = "--etcd-user and --etcd-password-file go together: give both or none";
            return Err(UsageError(words.to_owned()));
        }
        let Some(etcd) = etcd else {
            let path = store.map_or_else(|| self.default_store(file_name), |given| PathBuf::from(given.text));
            return Ok(StorePlan::Embedded(path));
        };
        if let Some(store) = store.filter(|store| store.typed) {
            return Err(UsageError(format!("{} and --etcd: one store is enough", store.origin)));
        }
        let endpoints = etcd.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty());
        let identity = certificate.zip(key);
        let user = user.zip(password);
        Ok(StorePlan::Etcd { endpoints: endpoints.collect(), ca, identity, user })
    }

    /// Where the embedded store is, unless somebody says otherwise.
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
