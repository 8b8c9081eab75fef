//! The environment, behind a trait: no test ever sets a real variable.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// Where variables come from.
pub trait Environment {
    /// The value of a variable. One that is empty counts as not set.
    fn get(&self, name: &str) -> Option<OsString>;
}

/// The real one.
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
