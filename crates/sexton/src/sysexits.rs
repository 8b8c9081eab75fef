//! Exit codes of the program itself, as sysexits.h defines them.

/// Invalid command line (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// Invalid input, such as a file that is not a journal (`EX_DATAERR`).
pub const DATAERR: u8 = 65;
/// Input that cannot be read (`EX_NOINPUT`).
pub const NOINPUT: u8 = 66;
/// A server that does not respond, or an address that is in use (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// A system call that failed (`EX_OSERR`).
pub const OSERR: u8 = 71;
/// Output that cannot be created (`EX_CANTCREAT`).
pub const CANTCREAT: u8 = 73;
/// Invalid configuration (`EX_CONFIG`).
pub const CONFIG: u8 = 78;
