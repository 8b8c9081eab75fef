//! Random numbers of the kernel.

use rustix::rand::{GetRandomFlags, getrandom};

/// Returns 64 random bits that cannot be predicted: for seeds, and for names that must be unique or secret.
///
/// # Panics
///
/// getrandom(2) fails. Of a request this short, it only does before Linux 3.17, or if a filter forbids it.
#[must_use]
pub fn random_seed() -> u64 {
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
    use super::random_seed;

    #[test]
    fn two_numbers_differ() {
        assert_ne!(random_seed(), random_seed());
    }
}
