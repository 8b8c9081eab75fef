//! Random numbers of the kernel, getrandom(2): the one source of randomness.

/// Returns 64 random bits that cannot be predicted: for seeds, and for names that must be unique or secret.
///
/// # Panics
///
/// getrandom(2) fails. For a request this short it does so only before Linux 3.17, or if a filter forbids the call.
#[must_use]
pub fn random_u64() -> u64 {
    getrandom::u64().unwrap_or_else(|error| panic!("cannot get random bytes from the kernel: {error}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_numbers_differ() {
        assert_ne!(super::random_u64(), super::random_u64());
    }
}
