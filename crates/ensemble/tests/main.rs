//! The embedded store: the test suite for stores, and faults.

mod faults;

use std::sync::Arc;

use ensemble::embedded::Embedded;
use ensemble::{Store, conformance};

/// A runtime for one test.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap_or_else(|error| panic!("no runtime: {error}")).block_on(future)
}

#[test]
fn the_embedded_store_passes_the_suite_for_stores() {
    let directory = testkit::private_directory();
    let store = Embedded::open(&directory.path().join("store")).unwrap_or_else(|error| panic!("{error}"));
    let store: Arc<dyn Store> = Arc::new(store);
    block_on(conformance::all(&store, "/test/"));
}
