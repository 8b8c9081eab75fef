//! What callbacks leave behind is written also to a store that does not answer for a time.

use std::time::Duration;

use ensemble::state::{State, States};
use tokio::time::sleep;

/// The longest state: what a store takes as one value, with room for the rest.
pub const LONGEST: usize = 1 << 20;

/// The pause before the store is asked again.
pub const PAUSE: Duration = Duration::from_millis(500);

/// Writes it, until it is `over`.
///
/// # Errors
///
/// Another leads, the store does not take it, or it is over.
pub async fn save_patiently(states: &States, state: &State, over: impl Fn() -> bool) -> Result<(), String> {
    loop {
        match states.save(state).await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err("another leads".to_owned()),
            Err(error) if !error.is_retryable() => return Err(error.to_string()),
            Err(error) => log::warn!("the state is not saved yet: {error}"),
        }
        sleep(PAUSE).await;
        if over() {
            return Err("we are ending".to_owned());
        }
    }
}
