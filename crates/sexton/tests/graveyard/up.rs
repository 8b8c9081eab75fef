//! `sexton up` in a pod with other containers.

use std::fs;

use testkit::wait_until;

use super::{BORN, DIED, Pod, value};
use crate::harness::{Running, Sexton};
use crate::up::{With, place, up_in};

/// A container that runs `sexton up` with this file.
pub(super) fn container(pod: &Pod, text: &str) -> Running {
    let file = pod.path("container.yaml");
    fs::write(&file, text).unwrap_or_else(|error| panic!("{error}"));
    let arguments = ["-v", "-p", "none", "up", &file.to_string_lossy(), "--control", "none"];
    Sexton::new(arguments).start()
}

fn with_graveyard(pod: &Pod, text: &str) -> String {
    text.replace("$GRAVEYARD", &pod.graveyard().to_string_lossy())
}

#[test]
fn process_depends_on_another_container_through_depends_on() {
    let pod = Pod::new();
    let text = with_graveyard(
        &pod,
        "graveyard: {directory: $GRAVEYARD}\nprocesses:\n  db: {command: sleep 1000}\n  web: {command: sleep 1000, dependsOn: {db: started, pod/proxy: ready}}\n",
    );
    let mut up = up_in(place(&text), &With::default());
    up.wait_until("web", "waiting for the proxy", |web| web["state"] == "waiting for proxy to be ready");
    assert!(up.asked(&["why", "web"]).contains("waiting for proxy to be ready"));
    pod.write_tombstone("proxy", BORN);
    up.wait_ready("web");
    up.sexton.stop();
}

#[test]
fn sexton_and_a_process_each_write_a_tombstone() {
    let pod = Pod::new();
    let text = with_graveyard(
        &pod,
        "graveyard: {directory: $GRAVEYARD, name: app}\nexitFrom: job\nprocesses:\n  web: {command: sleep 1000, tombstone: app-web}\n  job: {command: \"sh -c 'until [ -e $DIR/go ]; do sleep 0.01; done; exit 3'\", restartPolicy: Never}\n",
    );
    let up = up_in(place(&text), &With::default());
    pod.wait_for_tombstone("app", "Ready:");
    pod.wait_for_tombstone("app-web", "Ready:");
    fs::write(up.path("go"), "").unwrap_or_default();
    let done = up.sexton.done();
    assert_eq!(done.code, 3);
    let (app, web) = (pod.tombstone("app"), pod.tombstone("app-web"));
    assert_eq!(value(&app, "ExitCode"), Some("3"), "{app}");
    assert_eq!(value(&app, "Reason"), Some("\"job: exited with code 3\""), "{app}");
    assert_eq!(value(&web, "ExitCode"), Some("143"), "{web}");
    assert!(value(&web, "Died") <= value(&app, "Died"), "{web}{app}");
}

#[test]
fn death_stops_one_process_or_all_processes() {
    let pod = Pod::new();
    let text = with_graveyard(
        &pod,
        "graveyard: {directory: $GRAVEYARD, deathDeps: [main]}\nprocesses:\n  agent: {command: sleep 1000, deathDeps: batch}\n  web: {command: sleep 1000}\n",
    );
    let mut up = up_in(place(&text), &With::default());
    up.wait_ready("agent");
    pod.write_tombstone("batch", DIED);
    up.wait_for_phase("agent", "done");
    assert!(up.asked(&["why", "agent"]).contains("batch exited with code 0"));
    assert_eq!(up.process("web")["phase"], "running");
    // A start request overrides the earlier death.
    up.asked(&["start", "agent"]);
    up.wait_ready("agent");
    pod.write_tombstone("main", DIED);
    assert_eq!(up.sexton.wait(), 0);
}

#[test]
fn stopped_and_started_process_has_a_new_incarnation() {
    let pod = Pod::new();
    let text = with_graveyard(
        &pod,
        "graveyard: {directory: $GRAVEYARD}\nprocesses: {web: {command: sleep 1000, tombstone: web}}\n",
    );
    let up = up_in(place(&text), &With::default());
    let first = pod.wait_for_tombstone("web", "Ready:");
    up.asked(&["stop", "web"]);
    assert!(pod.tombstone("web").contains("Died: "), "{}", pod.tombstone("web"));
    up.asked(&["start", "web"]);
    let second = pod.wait_for_tombstone("web", "Ready:");
    assert_eq!(value(&second, "Died"), None);
    assert_ne!(value(&first, "Incarnation"), value(&second, "Incarnation"));
    assert_ne!(value(&first, "Born"), value(&second, "Born"));
    up.sexton.stop();
}

#[test]
fn birth_timeout_is_a_failure_and_the_start_request_gets_a_response() {
    let pod = Pod::new();
    let text = with_graveyard(
        &pod,
        "graveyard: {directory: $GRAVEYARD, birthTimeout: 100ms}\nprocesses:\n  web: {command: sleep 1000, birthDeps: [proxy]}\n  other: {command: sleep 1000}\n",
    );
    let mut up = up_in(place(&text), &With::default());
    up.wait_for_phase("web", "done");
    let started = up.ask(&["start", "web"]);
    assert_ne!(started.code, 0);
    assert!(
        started.stderr.contains("timed out after 100ms waiting for proxy to be ready"),
        "{}",
        started.stderr
    );
    pod.write_tombstone("proxy", BORN);
    up.asked(&["start", "web"]);
    up.sexton.stop();
}

#[test]
fn reload_changes_dependencies_and_rejects_a_new_graveyard_name() {
    let pod = Pod::new();
    let text = "graveyard: {directory: $GRAVEYARD, name: app}\nprocesses:\n  web: {command: sleep 1000}\n";
    let mut up = up_in(place(&with_graveyard(&pod, text)), &With::default());
    up.wait_ready("web");
    let before = up.pid("web");
    let more = format!(
        "{text}  agent: {{command: sleep 1000, dependsOn: {{pod/proxy: started}}, tombstone: agent}}\n"
    );
    up.rewrite(&with_graveyard(&pod, &more));
    up.asked(&["reload"]);
    up.wait_for_phase("agent", "waiting");
    pod.wait_for_tombstone("agent", "Incarnation");
    pod.write_tombstone("proxy", BORN);
    up.wait_ready("agent");
    assert_eq!(up.pid("web"), before);
    up.rewrite(&with_graveyard(&pod, &more.replace("name: app", "name: other")));
    let refused = up.ask(&["reload"]);
    assert!(refused.code != 0 && refused.stderr.contains("needs a restart of sexton"), "{refused:?}");
    up.rewrite(&with_graveyard(&pod, text));
    up.asked(&["reload"]);
    wait_until("the agent is dead", || pod.tombstone("agent").contains("Died").then_some(()));
    up.sexton.stop();
}

#[test]
fn invalid_settings_are_reported_with_their_position() {
    let text = "graveyard:\n  name: a/b\n  deathDeps: [x:gone]\n  birthTimeout: soon\nquit: istoi\nprocesses:\n  web: {command: x, dependsOn: {pod/..: ready}, tombstone: '', birthDeps: ['a|']}\n";
    let directory = place(text);
    let file = directory.path().join("sexton.yaml").to_string_lossy().into_owned();
    let done = Sexton::new(["check", &file]).done();
    assert_eq!(done.code, 78);
    for part in [
        "2:3: graveyard.name: 'a/b' is not a valid tombstone name: it contains a /",
        "3:3: graveyard.deathDeps: 'x:gone': expected one of started",
        "4:3: graveyard.birthTimeout: 'soon': expected seconds",
        "5:1: quit: 'istoi': expected a URL or one of istio, envoy, linkerd, cloud-sql-proxy, did you mean 'istio'?",
        "processes.web.dependsOn.pod/..: '..' is not a valid tombstone name: it is a directory",
        "processes.web.tombstone: '' is not a valid tombstone name: it is empty",
        "processes.web.birthDeps: '' is not a valid tombstone name: it is empty",
    ] {
        assert!(done.stderr.contains(part), "{part}\n{}", done.stderr);
    }
}

#[test]
fn reload_applies_deaths_that_already_happened_and_a_rejected_reload_changes_nothing() {
    let pod = Pod::new();
    let text = |deaths: &str| {
        with_graveyard(
            &pod,
            &format!(
                "graveyard: {{directory: $GRAVEYARD, name: app}}\nprocesses:\n  web: {{command: sleep 1000}}\n  agent: {{command: sleep 1000, deathDeps: {deaths}}}\n"
            ),
        )
    };
    let mut up = up_in(place(&text("first")), &With::default());
    up.wait_ready("agent");
    up.rewrite(&text("/proc/none/second"));
    let refused = up.ask(&["reload"]);
    assert!(refused.code != 0 && refused.stderr.contains("cannot use graveyard /proc/none"), "{refused:?}");
    // The watch is still in effect.
    pod.write_tombstone("batch", DIED);
    pod.write_tombstone("first", BORN);
    up.rewrite(&text("batch"));
    up.asked(&["reload"]);
    up.wait_for_phase("agent", "done");
    assert!(up.asked(&["why", "agent"]).contains("batch exited with code 0"));
    up.sexton.stop();

    let mut up = up_in(place(&text("first")), &With::default());
    up.wait_ready("agent");
    up.rewrite(&text("/proc/none/second"));
    assert_ne!(up.ask(&["reload"]).code, 0);
    pod.write_tombstone("first", DIED);
    up.wait_for_phase("agent", "done");
    up.sexton.stop();
}

#[test]
fn process_replaced_by_a_reload_is_not_recorded_as_dead() {
    let pod = Pod::new();
    let text = |seconds: &str| {
        with_graveyard(
            &pod,
            &format!(
                "graveyard: {{directory: $GRAVEYARD}}\nprocesses: {{web: {{command: sleep {seconds}, tombstone: web}}}}\n"
            ),
        )
    };
    let mut up = up_in(place(&text("1000")), &With::default());
    let first = pod.wait_for_tombstone("web", "Ready:");
    let mut other = pod.container("other", &["--death-dep", "web"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("other", "Ready:");
    let before = up.pid("web");
    up.rewrite(&text("2000"));
    up.asked(&["reload"]);
    up.wait_until("web", "replaced", |web| web["pid"].as_i64().is_some_and(|pid| pid != i64::from(before)));
    let second = pod.wait_for_tombstone("web", "Ready:");
    assert_eq!(value(&first, "Incarnation"), value(&second, "Incarnation"));
    assert_eq!(other.ended(), None, "{}", other.stderr());
    assert!(!up.sexton.stderr().contains("duplicate name"), "{}", up.sexton.stderr());
    up.sexton.stop();
    assert_eq!(other.done().code, 143);
}

#[test]
fn graveyard_section_can_be_removed_and_added_by_reloads() {
    let pod = Pod::new();
    let plain = "processes: {web: {command: sleep 1000}}\n";
    let section = with_graveyard(&pod, "graveyard: {directory: $GRAVEYARD}\n");
    let more = format!(
        "{section}processes:\n  web: {{command: sleep 1000}}\n  x: {{command: sleep 1000, birthDeps: proxy, restartPolicy: Never}}\n"
    );
    let mut up = up_in(place(&more), &With::default());
    up.wait_for_phase("x", "waiting");
    for text in [plain, more.as_str(), plain, more.as_str()] {
        up.rewrite(text);
        up.asked(&["reload"]);
    }
    pod.write_tombstone("proxy", BORN);
    up.wait_ready("x");
    up.sexton.stop();
}

#[test]
fn duplicate_tombstone_is_rejected_and_missing_name_is_reported() {
    let wrong = place("graveyard: {name: a}\nprocesses: {web: {command: x, tombstone: a}}\n");
    let check = |directory: &testkit::TempDir| {
        Sexton::new(["check", &directory.path().join("sexton.yaml").to_string_lossy()]).done()
    };
    assert!(check(&wrong).stderr.contains("duplicate tombstone 'a'"));
    let nameless = place("graveyard: {deathDeps: a}\nprocesses: {web: {command: x}}\n");
    let done = check(&nameless);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(format!("{}{}", done.stdout, done.stderr).contains("graveyard.name is missing"), "{done:?}");
}
