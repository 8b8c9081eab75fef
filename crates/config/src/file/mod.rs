//! The file formats, exactly as they are written.
//!
//! * [`automaton`]: a state machine of shell scripts
//! * [`native`]: `sexton.yaml`, with Kubernetes names wherever Kubernetes has one
//! * [`kubernetes`]: a Kubernetes manifest
//! * [`process_wrapper`]: the list of process-wrapper
//! * [`scalars`]: scalar and list types with more than one notation
//!
//! Every field is optional: [`crate::yaml::reader`] omits what it cannot read.

pub mod automaton;
pub mod kubernetes;
pub mod native;
pub mod process_wrapper;
pub mod scalars;
#[cfg(test)]
mod vocabulary;
