//! The environment, behind a trait, so that no test sets a real variable.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// A set of environment variables.
pub trait Environment {
    /// Returns the value of a variable. An empty variable counts as unset.
    fn get(&self, name: &str) -> Option<OsString>;
}

/// The environment of the process.
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
