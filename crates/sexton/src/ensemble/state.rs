//! Saves the state of callbacks, with retries while the store is unavailable.

use std::time::Duration;

use ensemble::state::{State, States};
use tokio::time::sleep;

/// Maximum size of a state, in bytes: the limit of a stored value with a reserve.
pub const LONGEST: usize = 1 << 20;

/// Pause between retries.
pub const PAUSE: Duration = Duration::from_millis(500);

/// Saves a state; retries until it succeeds or `shutting_down` returns true.
///
/// # Errors
///
/// Another master leads, the store refuses the state, or the program is shutting down.
pub async fn save_with_retries(
    states: &States,
    state: &State,
    shutting_down: impl Fn() -> bool,
) -> Result<(), String> {
    loop {
        match states.save(state).await {
            Ok(true) => return Ok(()),
            Ok(false) => return Err("another master leads".to_owned()),
            Err(error) if !error.is_retryable() => return Err(error.to_string()),
            Err(error) => log::warn!("cannot save the state, retrying: {error}"),
        }
        sleep(PAUSE).await;
        if shutting_down() {
            return Err("shutting down".to_owned());
        }
    }
}
