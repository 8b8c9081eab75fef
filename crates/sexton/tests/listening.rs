//! Listening: addresses, ports in use, the second port.

use std::net::{SocketAddr, TcpListener};

use testkit::http;

use crate::harness::Sexton;

#[test]
fn a_port_in_use_is_69_and_starts_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("{error}"));
    let port = taken.local_addr().map_or(0, |address| address.port()).to_string();
    for mode in ["run", "supervise"] {
        let mut sexton =
            Sexton::new(["-i", "127.0.0.1", "-p", &port, mode, "--", "sh", "-c", "echo > started"]).start();
        assert_eq!(sexton.wait(), 69);
        let stderr = sexton.stderr();
        assert_eq!(stderr, format!("sexton: cannot listen on 127.0.0.1:{port}: address already in use\n"));
        assert!(!sexton.path("started").exists());
    }
}

#[test]
fn a_foreign_address_is_69() {
    let done = Sexton::new(["-i", "192.0.2.1", "-p", "0", "run", "true"]).done();
    assert_eq!(done.code, 69);
    assert!(done.stderr.contains("192.0.2.1"), "{}", done.stderr);
}

#[test]
fn ipv6_works() {
    for interface in ["::1", "[::1]"] {
        let mut sexton =
            Sexton::new(["-v", "-i", interface, "-p", "0", "run", "--", "sleep", "1000"]).start();
        assert!(sexton.address().is_ipv6());
        assert_eq!(sexton.get("/startup?wait").code, 200);
    }
}

#[test]
fn the_default_is_port_6666_on_all_addresses() {
    // In its own network namespace, where the port is free.
    let script = format!("ip link set lo up && exec {} -v run --wait 1m -- true", crate::harness::SEXTON);
    let mut sexton = Sexton::program("/usr/bin/unshare".as_ref(), ["-rn", "sh", "-c", &script]).start();
    sexton.wait_for_stderr("address=0.0.0.0:6666");
    sexton.signal(libc::SIGTERM);
    sexton.wait();
}

#[test]
fn the_second_port_is_the_next_free_one_and_is_reported() {
    let main = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let main = main.unwrap_or_else(|error| panic!("{error}"));
    // Taken if it is free; otherwise it is in use already.
    let _next = TcpListener::bind(SocketAddr::new(main.ip(), main.port().saturating_add(1)));
    let port = main.port().to_string();
    let arguments =
        ["-v", "-i", "127.0.0.1", "-p", &port, "-b", "run", "--wait", "1m", "--", "sh", "-c", "exit 3"];
    let mut sexton = Sexton::new(arguments).start();
    let addresses = sexton.addresses(2);
    assert_eq!(addresses[0], main);
    assert!(addresses[1].port() > main.port() + 1, "{addresses:?}");
    sexton.wait_for_phase("done");
    for address in addresses.clone() {
        let answer = http::connect(address).and_then(|stream| http::request(stream, "GET", "/"));
        let body = answer.map(|answer| answer.body).unwrap_or_default();
        assert!(body.contains(&format!("\"SidebindPort\":{}", addresses[1].port())), "{body}");
    }
}

#[test]
fn the_socket_closes_when_the_process_ends() {
    let mut sexton = Sexton::with_server(["run", "--", "sleep", "1000"]).start();
    let address = sexton.address();
    crate::harness::send(sexton.wrapped(), libc::SIGTERM);
    assert_eq!(sexton.wait(), 143);
    assert!(http::connect(address).is_err());
}
