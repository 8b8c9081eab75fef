//! Work that may panic without our being at fault: a library that reads what a stranger has sent.
//!
//! Any other panic ends the program at once, as if nothing unwound: a part of it that is silently gone would be worse.

use std::panic::{self, AssertUnwindSafe};

use futures_util::FutureExt as _;

tokio::task_local! {
    static GUARDED: ();
}

/// Carries it out. An error is what it has panicked with.
pub(crate) async fn guarded<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let caught = AssertUnwindSafe(GUARDED.scope((), work)).catch_unwind().await;
    caught.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
    })
}

/// From now on a panic ends the program, unless it is guarded. To be called once, by `main`.
pub fn end_on_panic() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if GUARDED.try_with(|()| ()).is_err() {
            default(info);
            std::process::abort();
        }
        log::debug!("a library panicked over what it was sent: {info}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_panics_is_an_error_and_what_does_not_is_not() {
        assert_eq!(guarded(async { 1 }).await, Ok(1));
        let caught = guarded(async {
            tokio::task::yield_now().await;
            let nothing: &[u8] = &[];
            nothing[std::hint::black_box(3)]
        });
        assert!(caught.await.is_err_and(|what| what.contains("index out of bounds")));
        assert!(GUARDED.try_with(|()| ()).is_err());
    }
}
