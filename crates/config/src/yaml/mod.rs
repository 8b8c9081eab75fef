//! YAML text as a tree with positions, and the reader that turns it into typed values.

pub mod reader;
pub mod tree;
