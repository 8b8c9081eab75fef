//! Blocking work on threads, where a failure to start a thread is an error.
//!
//! The pool of the event loop's runtime panics if it cannot start its first thread, as when the limit of processes is
//! reached: one request for metrics would end the supervisor.

use std::collections::VecDeque;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::signals;

/// More work waits for a thread.
const MAX_THREADS: usize = 8;
/// A thread without work ends after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The stack of a thread in bytes. Resolving a name takes the most.
const STACK_SIZE: usize = 256 << 10;

type Work = Box<dyn FnOnce() + Send>;

struct Pool {
    state: Mutex<State>,
    /// Signals idle threads that there is work.
    added: Condvar,
}

struct State {
    queue: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

static POOL: Pool =
    Pool { state: Mutex::new(State { queue: VecDeque::new(), threads: 0, idle: 0 }), added: Condvar::new() };

/// Does blocking work on another thread.
///
/// # Errors
///
/// No thread can be started, and there is none.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    POOL.add(Box::new(move || drop(done.send(work()))))?;
    result.await.map_err(|_| io::Error::other("the work has panicked"))
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&'static self, work: Work) -> io::Result<()> {
        let mut state = self.lock();
        state.queue.push_back(work);
        if state.idle < state.queue.len() && state.threads < MAX_THREADS {
            let builder = thread::Builder::new().name("blocking".to_owned()).stack_size(STACK_SIZE);
            match builder.spawn(|| self.work_until_idle()) {
                Ok(_) => state.threads += 1,
                // A busy thread takes it later.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    state.queue.pop_back();
                    return Err(error);
                }
            }
        }
        self.added.notify_one();
        Ok(())
    }

    fn work_until_idle(&self) {
        signals::block_all();
        let mut state = self.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                work();
                state = self.lock();
                continue;
            }
            state.idle += 1;
            let waited = self.added.wait_timeout_while(state, IDLE_TIMEOUT, |state| state.queue.is_empty());
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
            if state.queue.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_work_than_threads_is_done() -> io::Result<()> {
        let all = (0..3 * MAX_THREADS).map(|number| tokio::spawn(run(move || number * 2)));
        let mut sum = 0;
        for task in all.collect::<Vec<_>>() {
            sum += task.await.map_err(io::Error::other)??;
        }
        assert_eq!(sum, (0..3 * MAX_THREADS).sum::<usize>() * 2);
        assert!(POOL.lock().threads <= MAX_THREADS);
        Ok(())
    }
}
