//! Probes of every kind with real servers, and their effects.

use super::{free_port, up};
use crate::harness::{python_of_tools, send, skipped};

/// A server that answers each path as its number says, with more behind it; `/flip` as a file says.
const SERVER: &str = r#"
import http.server, os, ssl, sys, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(s):
        open("seen", "a").write(s.path + " " + str(s.headers["Host"]) + " " + str(s.headers["User-Agent"]) + " " + str(s.headers["X-Own"]) + "\n")
        if s.path == "/hang": time.sleep(1000)
        if s.path == "/huge":
            s.send_response(200); s.end_headers()
            while True: s.wfile.write(b"x" * 65536)
        code = 200
        if s.path == "/flip": code = 200 if os.path.exists("good") else 500
        if s.path == "/loop": s.send_response(302); s.send_header("Location", "/loop"); s.send_header("Content-Length", "0"); s.end_headers(); return
        if s.path == "/away": s.send_response(302); s.send_header("Location", "http://nowhere.invalid/"); s.send_header("Content-Length", "0"); s.end_headers(); return
        if s.path == "/here": s.send_response(302); s.send_header("Location", "/flip"); s.send_header("Content-Length", "0"); s.end_headers(); return
        body = b"a reason\n"
        s.send_response(code); s.send_header("Content-Length", str(len(body))); s.end_headers(); s.wfile.write(body)
    def log_message(s, *a): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), H)
server.daemon_threads = True
if len(sys.argv) > 2:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); context.load_cert_chain(sys.argv[2]); server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

fn serving(port: u16, more: &str, probes: &str) -> String {
    let script = SERVER.replace('\n', "\n        ");
    format!(
        "processes:\n  web:\n    command:\n      - python3\n      - -c\n      - |\n        {script}\n      - '{port}'\n{more}    workingDir: $DIR\n    backoff: {{initial: 0}}\n    ports: [{{name: http, containerPort: {port}}}]\n    startupProbe: {{tcpSocket: {{port: http}}, periodSeconds: 50ms, failureThreshold: 1000}}\n{probes}"
    )
}

#[test]
fn http_readiness_follows_the_response_and_restarts_nothing() {
    let probe = "    readinessProbe: {httpGet: {path: /flip, port: http, httpHeaders: [{name: Host, value: example.org}, {name: X-Own, value: 1}]}, periodSeconds: 50ms, failureThreshold: 2, successThreshold: 2}\n";
    let mut up = up(&serving(free_port(), "", probe));
    let web = up.wait_until("web", "explained", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("HTTP 500: a reason"))
    });
    assert_eq!(web["ready"], false);
    std::fs::write(up.path("good"), "").unwrap_or_default();
    up.wait_ready("web");
    assert_eq!(up.sexton.get("/readiness").code, 200);
    std::fs::remove_file(up.path("good")).unwrap_or_default();
    let web = up.wait_until("web", "unready again", |it| it["ready"] == false);
    assert_eq!(web["starts"], 1);
    let seen = up.text("seen");
    assert!(seen.contains("/flip example.org kube-probe/"), "{seen}");
    assert!(seen.lines().next().is_some_and(|line| line.ends_with(" 1")), "{seen}");
}

#[test]
fn a_failed_http_liveness_probe_restarts_with_the_reason() {
    let probe =
        "    livenessProbe: {httpGet: {path: /flip, port: http}, periodSeconds: 50ms, failureThreshold: 2}\n";
    let mut up = up(&serving(free_port(), "", probe));
    let web = up.wait_until("web", "at its second run", |it| it["starts"].as_u64() >= Some(2));
    let reason = &web["lastExit"];
    assert_eq!(reason["reasonLabel"], "liveness_probe");
    assert_eq!(reason["reason"], "liveness probe failed: HTTP 500: a reason");
    let why = up.asked(&["why", "web"]);
    assert!(why.contains("liveness probe failed: HTTP 500: a reason"), "{why}");
}

#[test]
fn redirects_are_followed_to_the_same_host_and_are_a_success_to_another() {
    for (path, good, ready) in
        [("/here", true, true), ("/here", false, false), ("/away", false, true), ("/loop", true, false)]
    {
        let probe = format!(
            "    readinessProbe: {{httpGet: {{path: {path}, port: http}}, periodSeconds: 50ms, failureThreshold: 1}}\n"
        );
        let directory = super::place(&serving(free_port(), "", &probe));
        if good {
            std::fs::write(directory.path().join("good"), "").unwrap_or_default();
        }
        let mut up = super::up_in(directory, &super::With::default());
        if ready {
            up.wait_ready("web");
        } else {
            let web = up.wait_until("web", "explained", |it| {
                it["probes"].as_array().is_some_and(|probes| {
                    probes.iter().any(|p| p["kind"] == "readiness" && p["lastFailure"].is_string())
                })
            });
            assert_eq!(web["ready"], false, "{path}: {web}");
        }
    }
}

#[test]
fn an_endless_response_or_none_blocks_nothing() {
    let probe = "    readinessProbe: {httpGet: {path: /hang, port: http}, periodSeconds: 100ms, timeoutSeconds: 200ms, failureThreshold: 1}\n";
    let mut hanging = up(&serving(free_port(), "", probe));
    hanging.wait_until("web", "explained", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("no response within 200ms"))
    });
    let probe = "    readinessProbe: {httpGet: {path: /huge, port: http}, periodSeconds: 100ms, failureThreshold: 1}\n";
    let mut endless = up(&serving(free_port(), "", probe));
    endless.wait_ready("web");
    let used = std::fs::read_to_string(format!("/proc/{}/statm", endless.sexton.pid())).unwrap_or_default();
    let pages: u64 = used.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(u64::MAX);
    assert!(pages < 30_000, "{pages} pages");
}

#[test]
fn https_is_supported_without_verification() {
    let directory = testkit::private_directory();
    let pem = directory.path().join("pem");
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=another",
            "-days",
            "1",
        ])
        .arg("-keyout")
        .arg(&pem)
        .arg("-out")
        .arg(directory.path().join("crt"))
        .output();
    assert!(made.is_ok_and(|made| made.status.success()), "openssl");
    let both = std::fs::read_to_string(&pem).unwrap_or_default()
        + &std::fs::read_to_string(directory.path().join("crt")).unwrap_or_default();
    std::fs::write(&pem, both).unwrap_or_default();
    let probe = "    readinessProbe: {httpGet: {path: /x, port: http, scheme: HTTPS}, periodSeconds: 50ms, timeoutSeconds: 5}\n";
    let mut up = up(&serving(free_port(), &format!("      - {}\n", pem.display()), probe));
    up.wait_ready("web");
}

#[test]
fn grpc_health_works_with_a_real_server() {
    let Some(python) = python_of_tools() else {
        return skipped("the Python package grpcio: ./test installs it into target/test-tools");
    };
    let port = free_port();
    let script = "import grpc, sys, time, os; from concurrent import futures; from grpc_health.v1 import health, health_pb2, health_pb2_grpc\n        server = grpc.server(futures.ThreadPoolExecutor()); h = health.HealthServicer(); health_pb2_grpc.add_HealthServicer_to_server(h, server); server.add_insecure_port('127.0.0.1:' + sys.argv[1]); server.start()\n        while True: h.set('shop', health_pb2.HealthCheckResponse.SERVING if os.path.exists('good') else health_pb2.HealthCheckResponse.NOT_SERVING); time.sleep(0.05)";
    let text = format!(
        "processes:\n  shop:\n    command:\n      - {}\n      - -c\n      - |\n        {script}\n      - '{port}'\n    workingDir: $DIR\n    startupProbe: {{grpc: {{port: {port}}}, periodSeconds: 100ms, failureThreshold: 1000}}\n    readinessProbe: {{grpc: {{port: {port}, service: shop}}, periodSeconds: 100ms, failureThreshold: 1}}\n  unknown:\n    command: [sleep, 1000]\n    dependsOn: {{shop: started}}\n    readinessProbe: {{grpc: {{port: {port}, service: nobody}}, periodSeconds: 100ms, failureThreshold: 1}}\n",
        python.display()
    );
    let mut up = up(&text);
    up.wait_until("shop", "explained", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("gRPC: NOT_SERVING"))
    });
    std::fs::write(up.path("good"), "").unwrap_or_default();
    up.wait_ready("shop");
    up.wait_until("unknown", "explained", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("does not know the service"))
    });
}

#[test]
fn a_command_succeeds_with_0_and_its_output_is_reported() {
    let mut up = up(
        "processes:\n  web:\n    command: [sleep, 1000]\n    env: {FILE: $DIR/good}\n    readinessProbe: {exec: {command: [sh, -c, 'echo no file; yes | head -c 100000; [ -e $FILE ]']}, periodSeconds: 50ms, failureThreshold: 1}\n",
    );
    up.wait_until("web", "explained", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("sh exited with code 1: no file"))
    });
    std::fs::write(up.path("good"), "").unwrap_or_default();
    up.wait_ready("web");
}

#[test]
fn a_hanging_command_is_killed_with_its_descendants() {
    let mut up = up(
        "processes:\n  web:\n    command: [sleep, 1000]\n    readinessProbe: {exec: {command: [sh, -c, 'sleep 1001 & echo $! >> $DIR/left; trap \"\" TERM; wait']}, periodSeconds: 100ms, timeoutSeconds: 200ms, failureThreshold: 1}\n",
    );
    up.wait_until("web", "explained", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("no response within 200ms"))
    });
    let left: i32 = up.text("left").lines().next().and_then(|pid| pid.parse().ok()).unwrap_or(0);
    testkit::wait_until("its group is gone", || (!testkit::tree::is_alive(left)).then_some(()));
    testkit::wait_until("nothing is left unreaped", || {
        (testkit::tree::zombies(up.sexton.pid()) == 0).then_some(())
    });
    assert_eq!(up.process("web")["starts"], 1);
}

#[test]
fn file_and_variable_probes_work() {
    let mut up = up(
        "processes:\n  file: {command: [sleep, 1000], readinessProbe: {file: {path: $DIR/good}, periodSeconds: 50ms, failureThreshold: 1}}\n  same: {command: [sleep, 1000], env: {A: 1}, readinessProbe: {env: {name: A, value: 1}, periodSeconds: 50ms}}\n  other: {command: [sleep, 1000], env: {A: 2}, readinessProbe: {env: {name: A, value: 1}, periodSeconds: 50ms, failureThreshold: 1}}\n",
    );
    up.wait_ready("same");
    up.wait_until("other", "explained", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("A has not the expected value"))
    });
    up.wait_until("file", "explained", |it| it["state"].as_str().is_some_and(|s| s.contains("no such file")));
    std::fs::write(up.path("good"), "").unwrap_or_default();
    up.wait_ready("file");
}

#[test]
fn floating_pid_makes_a_frequently_restarted_process_unready() {
    let mut up = up(
        "backoff: {initial: 0}\nprocesses:\n  web: {command: [sleep, 1000], readinessProbe: {floatingPid: {period: 1m, threshold: 1}, periodSeconds: 50ms, failureThreshold: 1}}\n",
    );
    up.wait_ready("web");
    up.asked(&["restart", "web"]);
    up.wait_ready("web");
    up.asked(&["restart", "web"]);
    up.wait_until("web", "explained", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("restarted 2 times within 60s"))
    });
}

#[test]
fn heartbeats_keep_it_ready() {
    let mut up = up(
        "processes:\n  web: {command: [sleep, 1000], readinessProbe: {heartBeat: {period: 500ms}, periodSeconds: 50ms, failureThreshold: 1}}\n",
    );
    up.wait_ready("web");
    up.wait_until("web", "unready", |it| {
        it["state"].as_str().is_some_and(|s| s.contains("no heartbeat for"))
    });
    let answer = up.sexton.request("PATCH", "/heartbeat?name=web");
    assert!(answer.code == 202 && answer.body.contains("\"lastHeartBeat\":\"20"), "{answer:?}");
    up.wait_ready("web");
    assert_eq!(up.sexton.get("/heartbeat?name=web").code, 200);
    assert_eq!(up.sexton.get("/heartbeat?name=unknown").code, 404);
    assert_eq!(up.sexton.get("/heartbeat").code, 400);
}

#[test]
fn other_probes_wait_for_the_startup_probe() {
    let mut up = up(
        "processes:\n  web:\n    command: [sleep, 1000]\n    startupProbe: {file: {path: $DIR/started}, periodSeconds: 50ms, failureThreshold: 1000}\n    livenessProbe: {exec: {command: [sh, -c, 'echo x >> $DIR/asked']}, periodSeconds: 50ms}\n",
    );
    up.wait_until("web", "probed several times", |it| it["probes"][0]["failures"].as_u64() >= Some(3));
    assert_eq!(up.text("asked"), "");
    std::fs::write(up.path("started"), "").unwrap_or_default();
    up.wait_ready("web");
    up.wait_for("asked", "x\n");
}

#[test]
fn a_failed_startup_probe_restarts() {
    let mut up = up(
        "backoff: {initial: 0}\nprocesses:\n  web: {command: [sleep, 1000], startupProbe: {tcpSocket: {port: 1}, periodSeconds: 20ms, failureThreshold: 2}}\n",
    );
    let web = up.wait_until("web", "at its second run", |it| it["starts"].as_u64() >= Some(2));
    assert_eq!(web["lastExit"]["reasonLabel"], "startup_probe");
}

#[test]
fn texts_of_probes_and_hooks_are_shown_on_one_line() {
    let write = r#"printf "line1\n\033[2J\r\n\nall are ready\n\377\n""#;
    let text = format!(
        "processes:\n  a: {{command: [sleep, inf], readinessProbe: {{exec: {{command: [sh, -c, '{write}; exit 1']}}, periodSeconds: 50ms}}}}\n  b: {{command: [sleep, inf], restartPolicy: Never, lifecycle: {{postStart: {{exec: {{command: [sh, -c, '{write}; exit 1']}}}}}}}}\n"
    );
    let mut up = up(&text);
    up.wait_until("a", "explained", |it| it["state"].as_str().is_some_and(|state| state.contains("line1")));
    up.wait_for_phase("b", "done");
    let answers = ["/readiness", "/v1/events"].map(|path| up.sexton.get(path).body);
    let shown =
        [&["status"][..], &["why", "a"], &["why", "b"], &["events"]].map(|arguments| up.asked(arguments));
    for text in answers.iter().chain(&shown).chain([&up.sexton.stderr()]) {
        assert!(!text.contains(['\u{1b}', '\r']), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("all are ready")), "{text:?}");
    }
    assert!(shown[0].contains("line1\\n\\u{1b}[2J\\r\\n\\nall are ready"), "{}", shown[0]);
}

#[test]
fn notifications_that_arrived_while_the_supervisor_was_suspended_count() {
    let pet = "import os, socket, time\n        address = os.environ['NOTIFY_SOCKET']\n        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n        s.setblocking(False)\n        s.connect('\\0' + address[1:] if address[0] == '@' else address)\n        count = 0\n        while True:\n          count += 1\n          try: s.send(b'READY=1\\nWATCHDOG=1')\n          except BlockingIOError: pass\n          open('count', 'w').write(str(count))\n          time.sleep(0.1)";
    let text = format!(
        "backoff: {{initial: 0}}\nprocesses:\n  own:\n    command:\n      - python3\n      - -c\n      - |\n        {pet}\n    workingDir: $DIR\n    notify: systemd\n    watchdog: 4s\n"
    );
    let mut up = up(&text);
    up.wait_ready("own");
    let count = |up: &super::Up| up.text("count").parse::<u64>().unwrap_or(0);
    for _ in 0..2 {
        send(up.sexton.pid(), libc::SIGSTOP);
        let before = count(&up);
        testkit::wait_until("more than the interval has passed", || {
            (count(&up) >= before + 55).then_some(())
        });
        send(up.sexton.pid(), libc::SIGCONT);
        let before = count(&up);
        testkit::wait_until("some more", || (count(&up) >= before + 5).then_some(()));
        let own = up.process("own");
        assert_eq!((&own["starts"], &own["ready"]), (&1.into(), &true.into()), "{}", up.sexton.stderr());
    }
}

#[test]
fn a_process_may_notify_readiness_and_watchdog() {
    let say = "import os,socket,sys,time\n        s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.connect('\\0'+os.environ['NOTIFY_SOCKET'][1:])\n        say=lambda t: s.send(t.encode())\n        say('STATUS=warming up')\n        while not os.path.exists('go'): time.sleep(0.02)\n        say('READY=1\\nSTATUS=serving')\n        while not os.path.exists('silent'): say('WATCHDOG=1'); time.sleep(0.05)\n        time.sleep(1000)";
    let text = format!(
        "backoff: {{initial: 0}}\nprocesses:\n  own:\n    command:\n      - python3\n      - -c\n      - |\n        {say}\n    workingDir: $DIR\n    notify: systemd\n    watchdog: 500ms\n  s6: {{command: [sh, -c, 'while [ ! -e go ]; do sleep 0.02; done; echo >&5; exec 5>&-; exec sleep 1000'], workingDir: $DIR, notify: 'fd:5'}}\n  after: {{command: [sleep, 1000], dependsOn: {{own: started, s6: started}}}}\n"
    );
    let mut up = up(&text);
    up.wait_until("own", "warming up", |it| it["said"] == "warming up");
    assert_eq!(up.process("after")["phase"], "waiting");
    std::fs::write(up.path("go"), "").unwrap_or_default();
    up.wait_ready("after");
    up.wait_until("own", "serving", |it| it["said"] == "serving");
    std::fs::write(up.path("silent"), "").unwrap_or_default();
    let own = up.wait_until("own", "restarted", |it| it["starts"].as_u64() >= Some(2));
    assert_eq!(own["lastExit"]["reasonLabel"], "watchdog");
}

#[test]
fn any_descriptor_may_be_used_for_readiness_and_a_missing_program_is_still_reported() {
    use std::fmt::Write as _;
    let mut text = "processes:\n".to_owned();
    for number in 3..40 {
        let _ = writeln!(
            text,
            "  missing{number}: {{command: [/no/such], restartPolicy: Never, notify: 'fd:{number}'}}"
        );
        let _ =
            writeln!(text, "  there{number}: {{command: [$CHILD, say, '{number}'], notify: 'fd:{number}'}}");
    }
    let mut up = up(&text);
    for number in 3..40 {
        let missing = up.wait_for_phase(&format!("missing{number}"), "done");
        assert_eq!(missing["lastExit"]["exitCode"], 127, "{number}: {missing}");
        up.wait_ready(&format!("there{number}"));
    }
}

#[test]
fn long_status_texts_take_no_memory() {
    let say = "import os,socket\n        s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.connect('\\0'+os.environ['NOTIFY_SOCKET'][1:])\n        s.send(b'READY=1')\n        for n in range(20000): s.send(b'STATUS=a\\n'*450)\n        s.send(b'STATUS=done'); import time; time.sleep(1000)";
    let text = format!(
        "processes:\n  loud:\n    command:\n      - python3\n      - -c\n      - |\n        {say}\n    notify: systemd\n"
    );
    let mut up = up(&text);
    up.wait_until("loud", "done", |it| it["said"] == "done");
    let status = std::fs::read_to_string(format!("/proc/{}/status", up.sexton.pid())).unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.is_some_and(|kilobytes| kilobytes < 60_000), "{peak:?}");
}

#[test]
fn two_supervisors_do_not_interfere() {
    if !crate::harness::is_root() {
        return skipped("root, to create namespaces");
    }
    // Both are PID 1 and share the network, as two containers of a pod.
    let text = "processes: {own: {command: [python3, -c, \"import os,socket,time; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); s.connect(chr(0)+os.environ['NOTIFY_SOCKET'][1:]); s.send(b'READY=1'); time.sleep(1000)\"], notify: systemd}}\nreadinessFile: $DIR/ready\n";
    let pairs: Vec<_> = (0..2)
        .map(|_| {
            let directory = super::place(text);
            let file = directory.path().join("sexton.yaml").display().to_string();
            let arguments = [
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                crate::harness::SEXTON,
                "-p",
                "none",
                "up",
                "--control",
                "none",
                &file,
            ];
            (crate::harness::Sexton::program("/usr/bin/unshare".as_ref(), arguments).start(), directory)
        })
        .collect();
    for (sexton, directory) in &pairs {
        testkit::wait_until(&sexton.stderr(), || directory.path().join("ready").exists().then_some(()));
    }
}
