//! The environment behind a trait, so that tests set no real variable.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// A source of environment variables.
pub trait Environment {
    /// The value of a variable; an empty one counts as unset.
    fn get(&self, name: &str) -> Option<OsString>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct Real;

impl Environment for Real {
    fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name).filter(|value| !value.is_empty())
    }
}

impl Environment for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Option<OsString> {
        Self::get(self, name).filter(|value| !value.is_empty()).map(OsString::from)
    }
}
