//! What may stand in a file, exactly as it may stand there.
//!
//! * [`automaton`]: a state machine of scripts
//! * [`native`]: our own form, in Kubernetes' words wherever Kubernetes has one
//! * [`kubernetes`]: a manifest
//! * [`wrapper`]: the list of the tool process-wrapper
//! * [`words`]: values that may be written in more than one way
//!
//! Every field may be missing: [`super::read`] leaves out what it could not read.

pub mod automaton;
pub mod kubernetes;
pub mod native;
#[cfg(test)]
mod vocabulary;
pub mod words;
pub mod wrapper;
