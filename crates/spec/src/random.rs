//! Random numbers of the kernel, getrandom(2): the one source of randomness.
//!
//! The system call is made directly. The crate `getrandom` looks the function up in the C library at run time, does not find
//! it in a static binary, and then reads `/dev/urandom`, which an empty root does not have.

use rustix::rand::{GetRandomFlags, getrandom};

/// Returns 64 random bits that cannot be predicted: for seeds, and for names that must be unique or secret.
///
/// # Panics
///
/// getrandom(2) fails. For a request this short it does so only before Linux 3.17, or if a filter forbids the call.
#[must_use]
pub fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    loop {
        match getrandom(&mut bytes, GetRandomFlags::empty()) {
            Ok(8) => return u64::from_ne_bytes(bytes),
            // Interrupted while the kernel was collecting entropy after boot.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("cannot get random bytes from the kernel: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_numbers_differ() {
        assert_ne!(super::random_u64(), super::random_u64());
    }
}
