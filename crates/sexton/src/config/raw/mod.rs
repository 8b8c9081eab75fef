//! The file formats, exactly as they are written.
//!
//! * [`automaton`]: a state machine of shell scripts
//! * [`native`]: `sexton.yaml`, with Kubernetes names wherever Kubernetes has one
//! * [`kubernetes`]: a Kubernetes manifest
//! * [`wrapper`]: the list of process-wrapper
//! * [`words`]: scalar and list types with more than one notation
//!
//! Every field is optional: [`super::read`] omits what it cannot read.

pub mod automaton;
pub mod kubernetes;
pub mod native;
#[cfg(test)]
mod vocabulary;
pub mod words;
pub mod wrapper;
