//! Containment of panics in a library that parses input from untrusted peers.
//!
//! Any other panic aborts the program, as a silently missing task would be worse.

use std::panic::{self, AssertUnwindSafe};

use futures_util::FutureExt as _;

tokio::task_local! {
    static GUARDED: ();
}

/// Runs a future. A panic in it becomes an error with the panic message.
pub(crate) async fn guarded<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let caught = AssertUnwindSafe(GUARDED.scope((), work)).catch_unwind().await;
    caught.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
    })
}

/// Installs a panic hook that aborts the program, except within [`guarded`]. Called once, by `main`.
pub fn abort_on_panic() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if GUARDED.try_with(|()| ()).is_err() {
            default(info);
            std::process::abort();
        }
        log::debug!("a library panicked on received data: {info}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_a_panic_as_an_error() {
        assert_eq!(guarded(async { 1 }).await, Ok(1));
        let caught = guarded(async {
            tokio::task::yield_now().await;
            let empty: &[u8] = &[];
            empty[std::hint::black_box(3)]
        });
        assert!(caught.await.is_err_and(|text| text.contains("index out of bounds")));
        assert!(GUARDED.try_with(|()| ()).is_err());
    }
}
