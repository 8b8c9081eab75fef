//! Client and server, over an in-memory pipe and with a paused clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use zerorpc::{
    Call, CallError, Client, Fault, LONGEST, Method, Response, ResponseFuture, Service, Value, WireError,
    serve,
};

#[derive(Debug, Default)]
struct Calculator {
    made: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

struct CountsDrops(Arc<AtomicUsize>);

impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Service for Calculator {
    fn name(&self) -> &str {
        "calculator"
    }

    fn methods(&self) -> &'static [Method] {
        &[
            Method { name: "add", args: &["a", "b"], doc: "Adds." },
            Method { name: "count", args: &["to"], doc: "CountsDrops." },
            Method { name: "wait", args: &["seconds"], doc: "Waits." },
            Method { name: "fail", args: &[], doc: "Fails." },
        ]
    }

    fn call(&self, call: Call) -> ResponseFuture {
        let number = |at: usize| call.args.get(at).and_then(Value::as_u64).unwrap_or(0);
        let (name, first, second) = (call.name.clone(), number(0), number(1));
        let made = Arc::clone(&self.made);
        let counts = CountsDrops(Arc::clone(&self.dropped));
        Box::pin(async move {
            let _counts = counts;
            match name.as_str() {
                "add" => Ok(Response::One((first + second).into())),
                "count" => Ok(Response::Many(Box::pin(stream::iter(0..first).map(move |number| {
                    made.fetch_add(1, Ordering::SeqCst);
                    if number == 1000 { Err(Fault::new("TooMuch", "a thousand")) } else { Ok(number.into()) }
                })))),
                "wait" => {
                    sleep(Duration::from_secs(first)).await;
                    Ok(Response::One(first.into()))
                }
                _ => Err(Fault::new("ValueError", "requested by the test")),
            }
        })
    }
}

type Served = JoinHandle<Result<(), WireError>>;

async fn connected(service: Calculator) -> (Client<DuplexStream>, Served) {
    let (one, other) = duplex(1 << 16);
    let served = tokio::spawn(serve(other, Arc::new(service), LONGEST));
    let client = Client::connect(one, LONGEST).await;
    (client.unwrap_or_else(|error| panic!("{error}")), served)
}

#[tokio::test(start_paused = true)]
async fn calls_return_a_value_or_a_named_fault() {
    let (mut client, served) = connected(Calculator::default()).await;
    let sum = client.call("add", vec![2.into(), 3.into()]).await;
    assert_eq!(sum.ok(), Some(5.into()));
    for (name, kind) in [("fail", "ValueError"), ("nothing", "NameError"), ("_zerorpc_help", "KeyError")] {
        let answer = client.call(name, Vec::new()).await;
        assert!(matches!(&answer, Err(CallError::Fault(fault)) if fault.name == kind), "{answer:?}");
    }
    let inspected = client.call("_zerorpc_inspect", Vec::new()).await.map(|value| value.to_string());
    let inspected = inspected.unwrap_or_else(|error| panic!("{error}"));
    for part in
        [r#""name": "calculator""#, r#""add": {"args": [{"name": "a"}, {"name": "b"}], "doc": "Adds."}"#]
    {
        assert!(inspected.contains(part), "{inspected}");
    }
    drop(client);
    assert!(matches!(served.await, Ok(Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_long_call_and_an_abandoned_call_is_dropped() {
    let service = Calculator::default();
    let dropped = Arc::clone(&service.dropped);
    let (mut client, _served) = connected(service).await;
    assert_eq!(client.call("wait", vec![100.into()]).await.ok(), Some(100.into()));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    // A request after which the client sends no heartbeats.
    let started = Instant::now();
    drop(client.request("wait", vec![1000.into()], Vec::new()).await);
    while dropped.load(Ordering::SeqCst) < 2 {
        sleep(Duration::from_secs(1)).await;
    }
    let after = started.elapsed();
    assert!(after > zerorpc::HEARTBEAT * 3 && after < zerorpc::HEARTBEAT * 5, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_to_a_silent_server_fails() {
    let (one, other) = duplex(1 << 16);
    let mute = tokio::spawn(async move {
        // It completes the handshake and then sends nothing.
        let held = Client::connect(other, LONGEST).await;
        sleep(Duration::from_secs(1000)).await;
        drop(held);
    });
    let mut client = Client::connect(one, LONGEST).await.unwrap_or_else(|error| panic!("{error}"));
    let started = Instant::now();
    let answer = client.call("add", Vec::new()).await;
    assert!(matches!(answer, Err(CallError::Lost)), "{answer:?}");
    assert!(started.elapsed() < zerorpc::HEARTBEAT * 5);
    mute.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stream_does_not_run_ahead_of_its_reader() {
    let service = Calculator::default();
    let made = Arc::clone(&service.made);
    let (mut client, _served) = connected(service).await;
    let mut replies =
        client.request("count", vec![350.into()], Vec::new()).await.unwrap_or_else(|error| panic!("{error}"));
    let mut read = Vec::new();
    while let Some(value) = replies.next().await.unwrap_or_else(|error| panic!("{error}")) {
        read.push(value.as_u64().unwrap_or(0));
        sleep(Duration::from_millis(1)).await;
        assert!(
            made.load(Ordering::SeqCst) <= read.len() + 101,
            "{} of {}",
            made.load(Ordering::SeqCst),
            read.len()
        );
    }
    assert_eq!(read, (0..350).collect::<Vec<_>>());
    assert!(matches!(replies.next().await, Ok(None)));
    let mut replies = client
        .request("count", vec![2000.into()], Vec::new())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let fault = loop {
        match replies.next().await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(&fault, Err(CallError::Fault(fault)) if fault.name == "TooMuch"), "{fault:?}");
    assert_eq!(
        client.call("add", vec![1.into(), 1.into()]).await.ok(),
        Some(2.into()),
        "the connection is still usable"
    );
}

#[tokio::test(start_paused = true)]
async fn refuses_too_many_concurrent_calls() {
    let (mut client, _served) = connected(Calculator::default()).await;
    for _ in 0..64 {
        drop(client.request("wait", vec![8.into()], Vec::new()).await);
    }
    let refused = client.call("add", Vec::new()).await;
    assert!(matches!(&refused, Err(CallError::Fault(fault)) if fault.name == "Busy"), "{refused:?}");
    sleep(Duration::from_secs(9)).await;
    assert!(client.call("add", vec![1.into()]).await.is_ok());
}
