//! Exhausted descriptors, a missing `/proc`, a killed supervisor.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::process::Command;

use testkit::{http, tree, wait_until};

use crate::harness::{SEXTON, Sexton, child, is_root, skipped, wrapping};

#[test]
fn requests_are_answered_with_few_descriptors() {
    let script = format!("ulimit -n 24; exec {SEXTON} -v -i 127.0.0.1 -p 0 run -- sleep 1000");
    let mut sexton = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).start();
    let address = sexton.address();
    let mut open = Vec::new();
    for _ in 0..60 {
        open.extend(TcpStream::connect(address));
    }
    assert_eq!(sexton.get("/startup?wait").code, 200);
    assert_eq!(sexton.get("/metrics").code, 200);
    assert_eq!(sexton.stop().code, 143);
}

#[test]
fn taking_the_last_descriptor_closes_no_other_connection() {
    let mut sexton = Sexton::with_server(["run", "--", "sleep", "inf"]).start();
    let address = sexton.address();
    let connect = || http::connect(address).unwrap_or_else(|error| panic!("{error}"));
    let mut first = connect();
    assert_eq!(ask_and_keep(&mut first, "/startup?wait"), "HTTP/1.1 200 OK");
    let open = || tree::descriptors(sexton.pid());
    let before = open();
    let free = (0..).find(|number| !before.contains(number)).unwrap_or_default();
    tree::limit_descriptors(sexton.pid(), free + 1);
    // accept(2) fails without a descriptor, even if no connection waits.
    let second = connect();
    wait_until("the second connection", || (open().len() > before.len()).then_some(()));
    for _ in 0..3 {
        assert_eq!(ask_and_keep(&mut first, "/"), "HTTP/1.1 200 OK");
    }
    assert_eq!(http::request(second, "GET", "/").map(|answer| answer.code).ok(), Some(200));
    assert!(!sexton.stderr().contains("cannot accept"), "{}", sexton.stderr());
}

/// The status line of the response to a request on a connection that stays open.
fn ask_and_keep(stream: &mut TcpStream, target: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let mut reader = BufReader::new(stream);
    let (mut status, mut length) = (String::new(), 0);
    reader.read_line(&mut status).unwrap_or_else(|error| panic!("{error}"));
    for line in reader.by_ref().lines() {
        let line = line.unwrap_or_else(|error| panic!("{error}")).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap_or_else(|error| panic!("{error}"));
    status.trim().to_owned()
}

#[test]
fn nothing_is_started_without_enough_descriptors() {
    for limit in 3..12 {
        let script = format!(
            "ulimit -n {limit}; exec {SEXTON} -i 127.0.0.1 -p 0 run -- sh -c 'echo > started; exit 3'"
        );
        let mut sexton = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).start();
        let code = sexton.wait();
        let started = sexton.path("started").exists();
        let stderr = sexton.stderr();
        assert!(
            (code == 3 && started) || (matches!(code, 69 | 71) && !started && stderr.lines().count() == 1),
            "{limit}: {code}: {stderr}"
        );
    }
}

#[test]
fn at_the_process_limit_run_fails_and_supervise_retries() {
    // The limit counts the processes of a user: one without other processes.
    let limited = |arguments: &str| {
        let script = format!(
            "exec setpriv --reuid 54321 --regid 54321 --clear-groups prlimit --nproc=1 {SEXTON} -v -i 127.0.0.1 -p 0 {arguments} -- true"
        );
        Sexton::program("/bin/sh".as_ref(), ["-c", &script]).start()
    };
    if !is_root() {
        return skipped("root, to change the user");
    }
    let mut run = limited("run");
    assert_eq!(run.wait(), 71, "{}", run.stderr());
    assert!(
        run.stderr().contains("cannot start 'true': resource temporarily unavailable"),
        "{}",
        run.stderr()
    );
    let mut supervise = limited("supervise --wait 10ms");
    wait_until("several attempts", || {
        (supervise.stderr().matches("cannot start").count() >= 3).then_some(())
    });
    assert_eq!(supervise.get("/readiness").code, 503);
    supervise.signal(libc::SIGTERM);
    assert_eq!(supervise.wait(), 71);
}

#[test]
fn processes_run_stop_and_are_reaped_without_proc() {
    if !is_root() {
        return skipped("root, to create namespaces");
    }
    let script = |arguments: &str| format!("mount -t tmpfs none /proc && exec {SEXTON} -p none {arguments}");
    let unshare = |arguments: &str| {
        Sexton::program("/usr/bin/unshare".as_ref(), ["-m", "sh", "-c", &script(arguments)])
    };
    let done = unshare("run -- sh -c 'sleep 1000 & (true &) ; exit 3'").done();
    assert_eq!(done.code, 3, "{}", done.stderr);
    let done = unshare("watch something").done();
    assert_eq!(done.code, 71);
    assert!(done.stderr.contains("/proc"), "{}", done.stderr);
}

#[test]
fn a_process_that_exits_at_once_is_noticed() {
    for _ in 0..100 {
        assert_eq!(Sexton::without_server(wrapping(&["run"], child(["end-by", "9"]))).done().code, 137);
    }
}

#[test]
fn nothing_is_lost_while_the_supervisor_is_suspended() {
    let mut sexton = Sexton::with_server([
        "supervise",
        "--wait",
        "0",
        "--",
        "sh",
        "-c",
        "echo x >> runs; exec sleep 1000",
    ])
    .start();
    let first = sexton.wrapped();
    sexton.signal(libc::SIGSTOP);
    wait_until("the supervisor is suspended", || (tree::state(sexton.pid()) == Some('T')).then_some(()));
    crate::harness::send(first, libc::SIGKILL);
    sexton.signal(libc::SIGCONT);
    wait_until("the second run", || (sexton.text("runs").lines().count() == 2).then_some(()));
}

#[test]
fn an_unread_standard_error_blocks_nothing() {
    let (_unread, writer) = std::io::pipe().unwrap_or_else(|error| panic!("{error}"));
    let script = "trap '' TERM; yes >&2 & echo ready > ready; while :; do sleep 0.01; done";
    let arguments = ["-vv", "-p", "none", "run", "--grace-period", "300ms", "--", "sh", "-c", script];
    let mut sexton = Sexton::new(arguments).stderr(writer).start();
    sexton.wait_for_file("ready");
    // The pipe is full when `yes` has to wait.
    wait_until("the pipe is full", || {
        let yes = sexton.descendants().into_iter().find(|(_, name)| name == "yes");
        let at = yes.and_then(|(pid, _)| std::fs::read_to_string(format!("/proc/{pid}/wchan")).ok())?;
        at.contains("pipe").then_some(())
    });
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 137);
}

#[test]
fn unread_records_delay_the_exit_until_a_second_signal() {
    let (_unread, stdout) = std::io::pipe().unwrap_or_else(|error| panic!("{error}"));
    let (_unread_too, stderr) = std::io::pipe().unwrap_or_else(|error| panic!("{error}"));
    let script = "yes & yes >&2 & echo ready > ready; wait";
    let arguments = ["-p", "none", "run", "-L", "--grace-period", "300ms", "--", "sh", "-c", script];
    let mut sexton = Sexton::new(arguments).stdout(stdout).stderr(stderr).start();
    sexton.wait_for_file("ready");
    sexton.signal(libc::SIGTERM);
    // The reader has some time; a second request ends it.
    wait_until("the process is gone", || sexton.descendants().is_empty().then_some(()));
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 143);
}

#[test]
fn a_reused_pid_is_not_mistaken_for_a_child() {
    if !is_root() {
        return skipped("root, to choose the process id of the next process");
    }
    // The process exits and leaves a stray that ignores signals; its PID is reused by a process that is not
    // concerned; then the grace is over and the stray is killed.
    let script = format!(
        "{SEXTON} -p none run --grace-period 1s -- sh -c 'echo $$ > leader; setsid {child} deaf deaf & while [ ! -e deaf ]; do sleep 0.01; done' &
        sexton=$!
        while [ ! -s leader ] || [ -d /proc/$(cat leader) ]; do sleep 0.01; done
        number=$(cat leader)
        echo $((number - 1)) > /proc/sys/kernel/ns_last_pid
        setsid sleep 1000 &
        [ $! = $number ] || exit 90
        wait $sexton
        kill -0 $number || exit 91
        [ -d /proc/$(cat deaf) ] && exit 92
        exit 0",
        child = testkit::child().display()
    );
    let arguments = ["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
    let done = Sexton::program("/usr/bin/unshare".as_ref(), arguments).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
fn a_hangup_during_the_shutdown_does_not_restart() {
    let wrapped = child(["deaf", "ready"]);
    let mut sexton =
        Sexton::with_server(wrapping(&["supervise", "--wait", "0", "--grace-period", "200ms"], wrapped))
            .start();
    sexton.wait_for_file("ready");
    sexton.signal(libc::SIGTERM);
    sexton.wait_for_stderr("sent SIGTERM");
    sexton.signal(libc::SIGHUP);
    assert_eq!(sexton.wait(), 137);
    assert_eq!(sexton.stderr().matches("msg=started").count(), 1);
}

#[test]
fn an_unread_terminal_blocks_nothing() {
    let (mut unread, mut terminal) = (0, 0);
    let null = std::ptr::null_mut();
    // SAFETY: openpty fills the two numbers; the other arguments may be null.
    let opened = unsafe { libc::openpty(&raw mut unread, &raw mut terminal, null, null.cast(), null.cast()) };
    assert_eq!(opened, 0);
    // SAFETY: openpty has just made them.
    let (_unread, terminal) = unsafe { (OwnedFd::from_raw_fd(unread), OwnedFd::from_raw_fd(terminal)) };
    let arguments = ["-v", "-p", "none", "supervise", "--wait", "0", "--", "sh", "-c", "echo x >> runs"];
    let mut sexton = Sexton::new(arguments).stderr(terminal).start();
    // A terminal buffers about 4 KiB; each run logs more than 200 bytes.
    wait_until("more is said than it holds", || (sexton.text("runs").lines().count() > 100).then_some(()));
    sexton.signal(libc::SIGTERM);
    sexton.wait();
}

#[test]
fn at_the_process_limit_requests_and_probes_need_no_new_thread() {
    if !is_root() {
        return skipped("root, to change the user");
    }
    let directory = crate::up::place(
        "processes:\n  web: {command: [sleep, inf], readinessProbe: {tcpSocket: {host: localhost, port: 1}, periodSeconds: 50ms}, resources: {limits: {memory: 1Gi}}}\n",
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap_or_default();
    let copy = directory.path().join("sexton-program");
    testkit::copy_executable(SEXTON.as_ref(), &copy);
    let script = format!(
        "exec setpriv --reuid 54323 --regid 54323 --clear-groups {} -i 127.0.0.1 -p 0 up --control none {}",
        copy.display(),
        directory.path().join("sexton.yaml").display()
    );
    let mut sexton = Sexton::program("/bin/sh".as_ref(), ["-c", &script]).start();
    let address = sexton.address();
    wait_until("the process runs", || {
        sexton.descendants().values().any(|name| name == "sleep").then_some(())
    });
    // From now on the user may start no process and no thread.
    let limit = ["--reuid", "54323", "--regid", "54323", "--clear-groups", "prlimit", "--nproc=1:1", "--pid"];
    let limit = Command::new("setpriv").args(limit).arg(sexton.pid().to_string()).status();
    assert!(limit.is_ok_and(|status| status.success()));
    let ask = |target: &str| http::connect(address).and_then(|stream| http::request(stream, "GET", target));
    for _ in 0..5 {
        for target in ["/metrics", "/v1/processes", "/readiness", "/liveness"] {
            let answer = ask(target).unwrap_or_else(|error| panic!("{target}: {error}; {}", sexton.stderr()));
            assert!(matches!(answer.code, 200 | 503), "{target}: {answer:?}");
        }
    }
    sexton.signal(libc::SIGTERM);
    assert_eq!(sexton.wait(), 0, "{}", sexton.stderr());
}
