//! Stores by their plans.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ensemble::embedded::Embedded;
use ensemble::{Store, StoreError};
use ensemble_etcd::{Etcd, Options, OptionsError};
use thiserror::Error;

use spec::store::StorePlan;
use spec::text::describe;

/// The longest file with a certificate, a key or a password.
const LONGEST: u64 = 1 << 20;

/// Why there is no store.
#[derive(Debug, Error)]
pub enum StoreFailed {
    /// It does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its options are invalid.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// There is a file for a token, and no token in it.
    #[error("{0}: expected a token, found nothing")]
    Token(String),
    /// A file that it needs cannot be read.
    #[error("cannot read {0}: {1}")]
    File(String, String),
}

/// Opens a store; true: it was made just now. Whether etcd is there is seen when it is first asked.
pub fn open(plan: &StorePlan) -> Result<(Arc<dyn Store>, bool), StoreFailed> {
    match plan {
        StorePlan::Embedded(path) => {
            if let Some(directory) = path.parent().filter(|path| !path.as_os_str().is_empty()) {
                fs::create_dir_all(directory)
                    .map_err(|error| StoreFailed::File(directory.display().to_string(), describe(&error)))?;
            }
            log::info!(path:% = path.display(); "the store is a file");
            let store = Embedded::open(path)?;
            let made = store.was_created();
            Ok((Arc::new(store), made))
        }
        StorePlan::Etcd { endpoints, ca, identity, user } => {
            let pair = |(certificate, key): &(PathBuf, PathBuf)| {
                Ok::<_, StoreFailed>((read(certificate)?, read(key)?))
            };
            let named = |(name, password): &(String, PathBuf)| {
                Ok::<_, StoreFailed>((name.clone(), secret(password)?))
            };
            let options = Options {
                endpoints: endpoints.clone(),
                ca: ca.as_deref().map(read).transpose()?,
                identity: identity.as_ref().map(pair).transpose()?,
                user: user.as_ref().map(named).transpose()?,
                ..Options::default()
            };
            let store = Etcd::new(&options)?;
            // Behind the check: what is no endpoint may hold a password.
            log::info!(endpoints:% = endpoints.join(","); "the store is etcd");
            Ok((Arc::new(store), false))
        }
    }
}

/// What a file holds that is for one reader: a password, a token.
pub fn secret(path: &Path) -> Result<String, StoreFailed> {
    Ok(String::from_utf8_lossy(&read(path)?).trim_end_matches(['\r', '\n']).to_owned())
}

/// A token without surrounding white space; an empty one is rejected, since it could be guessed.
pub fn token(path: &Path) -> Result<String, StoreFailed> {
    let token = secret(path)?.trim().to_owned();
    if token.is_empty() {
        return Err(StoreFailed::Token(path.display().to_string()));
    }
    Ok(token)
}

fn read(path: &Path) -> Result<Vec<u8>, StoreFailed> {
    let failed = |why: String| StoreFailed::File(path.display().to_string(), why);
    let length = fs::metadata(path).map_err(|error| failed(describe(&error)))?.len();
    if length > LONGEST {
        return Err(failed(format!("it is longer than {LONGEST} bytes")));
    }
    fs::read(path).map_err(|error| failed(describe(&error)))
}
