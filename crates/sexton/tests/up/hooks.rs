//! Hooks: postStart and preStop.

use super::{free_port, up};

#[test]
fn post_start_precedes_started_and_its_failure_restarts() {
    let mut up = up(
        "processes:\n  web:\n    command: [sleep, 1000]\n    backoff: {initial: 0}\n    lifecycle: {postStart: {exec: {command: [sh, -c, 'echo x >> $DIR/hooks; [ $(wc -l < $DIR/hooks) -ge 2 ] || exit 3']}}}\n  after: {command: [sh, -c, 'cp $DIR/hooks $DIR/seen; exec sleep 1000'], dependsOn: {web: started}}\n",
    );
    up.wait_for("seen", "x");
    assert_eq!(up.text("seen").lines().count(), 2);
    let web = up.process("web");
    assert_eq!(
        (web["starts"].as_u64(), web["lastExit"]["reasonLabel"].as_str()),
        (Some(2), Some("post_start"))
    );
}

#[test]
fn a_hanging_post_start_hook_is_killed() {
    let mut up = up(
        "processes:\n  web:\n    command: [sleep, 1000]\n    restartPolicy: Never\n    lifecycle: {postStart: {deadline: 200ms, exec: {command: [sh, -c, 'sleep 1000 & echo $! > $DIR/left; wait']}}}\n  other: {command: [sleep, 1000]}\n",
    );
    let web = up.wait_for_phase("web", "done");
    assert!(
        web["lastExit"]["reason"].as_str().is_some_and(|why| why.contains("timed out after 200ms")),
        "{web}"
    );
    let left: i32 = up.text("left").trim().parse().unwrap_or(0);
    testkit::wait_until("its whole group is killed", || (!testkit::tree::is_alive(left)).then_some(()));
}

#[test]
fn pre_stop_precedes_the_signal_and_its_failure_is_only_logged() {
    let mut up = up(
        "processes:\n  web:\n    command: [sh, -c, 'trap \"echo term >> $DIR/log; exit 0\" TERM; echo > $DIR/there; while :; do sleep 0.01; done']\n    readinessProbe: {file: {path: $DIR/there}, periodSeconds: 20ms}\n    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo hook >> $DIR/log; exit 1']}}}\n",
    );
    up.wait_ready("web");
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0);
    assert_eq!(up.text("log"), "hook\nterm\n");
    assert!(up.sexton.stderr().contains("preStop hook failed"), "{}", up.sexton.stderr());
}

#[test]
fn a_hanging_pre_stop_hook_leaves_time_for_the_signal() {
    let mut up = up(
        "terminationGracePeriodSeconds: 3\nprocesses:\n  web:\n    command: [sh, -c, 'trap \"echo term >> $DIR/log; exit 0\" TERM; echo > $DIR/there; while :; do sleep 0.01; done']\n    readinessProbe: {file: {path: $DIR/there}, periodSeconds: 20ms}\n    lifecycle: {preStop: {sleep: {seconds: 1000}}}\n",
    );
    up.wait_ready("web");
    up.sexton.signal(libc::SIGTERM);
    assert_eq!(up.sexton.wait(), 0, "{}", up.sexton.stderr());
    assert_eq!(up.text("log"), "term\n");
}

#[test]
fn pre_stop_runs_before_a_stop_by_a_probe_and_not_after_an_exit() {
    let mut up = up(
        "backoff: {initial: 0}\nprocesses:\n  ill:\n    command: [sleep, 1000]\n    livenessProbe: {exec: {command: [test, -e, $DIR/healed]}, periodSeconds: 50ms, failureThreshold: 1}\n    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo x >> $DIR/hooks; echo > $DIR/healed']}}}\n  own:\n    command: [sh, -c, 'exit 0']\n    restartPolicy: Never\n    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo x >> $DIR/never']}}}\n",
    );
    up.wait_until("ill", "at its second run", |it| it["starts"] == 2 && it["ready"] == true);
    up.wait_for_phase("own", "done");
    assert_eq!((up.text("hooks").as_str(), up.text("never").as_str()), ("x\n", ""));
}

#[test]
fn hooks_may_be_http_and_tcp() {
    let port = free_port();
    let server = "import http.server,sys; H=type('H',(http.server.BaseHTTPRequestHandler,),{'do_GET':lambda s:(open(sys.argv[2],'a').write(s.path+chr(10)),s.send_error(500))}); http.server.HTTPServer(('127.0.0.1',int(sys.argv[1])),H).serve_forever()";
    let text = format!(
        "processes:\n  server:\n    command: [python3, -c, \"{server}\", '{port}', $DIR/asked]\n    readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 50ms}}\n  web:\n    command: [sleep, 1000]\n    dependsOn: server\n    lifecycle:\n      postStart: {{httpGet: {{port: {port}, path: /hello}}}}\n      preStop: {{tcpSocket: {{port: {port}}}}}\n"
    );
    let mut up = up(&text);
    up.wait_ready("web");
    assert_eq!(up.text("asked"), "/hello\n", "any answer will do");
    up.asked(&["stop", "web"]);
}
