//! Contents of tombstones and when they are written; `sexton graves`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::Value;
use testkit::wait_until;

use super::{BORN, Pod, value};
use crate::harness::{Sexton, child, is_root, skipped};

#[test]
fn tombstone_records_birth_readiness_and_death() {
    let pod = Pod::new();
    let sexton =
        pod.container("app", &[], ["sh", "-c", "until [ -e go ]; do sleep 0.01; done; exit 3"]).start();
    let tombstone = pod.wait_for_tombstone("app", "Ready:");
    let time = |key| value(&tombstone, key).and_then(|text| text.parse::<jiff::Timestamp>().ok());
    assert!(time("Born").is_some_and(|born| Some(born) <= time("Ready")), "{tombstone}");
    assert_eq!((value(&tombstone, "Died"), value(&tombstone, "ExitCode")), (None, None), "{tombstone}");
    let mode = fs::metadata(pod.graveyard()).map(|it| it.permissions().mode() & 0o7777);
    assert_eq!(mode.unwrap_or(0), 0o1777, "the directory must be writable for all users");
    fs::write(sexton.path("go"), "").unwrap_or_default();
    assert_eq!(sexton.done().code, 3);
    let tombstone = pod.tombstone("app");
    let keys: Vec<_> = tombstone.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(keys, ["Born", "Died", "ExitCode", "Reason", "Incarnation"], "{tombstone}");
    assert_eq!(value(&tombstone, "ExitCode"), Some("3"));
    assert_eq!(pod.names(), ["app"], "no temporary files must remain");
}

#[test]
fn exit_by_signal_and_failed_start_are_recorded() {
    let pod = Pod::new();
    assert_eq!(pod.container("app", &[], child(["end-by", "9"])).done().code, 137);
    let tombstone = pod.tombstone("app");
    assert_eq!(
        (value(&tombstone, "ExitCode"), value(&tombstone, "Signal")),
        (Some("137"), Some("KILL")),
        "{tombstone}"
    );
    assert_eq!(pod.container("app", &[], ["./none"]).done().code, 127);
    let tombstone = pod.tombstone("app");
    assert_eq!(
        (value(&tombstone, "ExitCode"), value(&tombstone, "Born")),
        (Some("127"), None),
        "{tombstone}"
    );
    assert!(value(&tombstone, "Reason").is_some_and(|reason| reason.contains("no such file")), "{tombstone}");
}

#[test]
fn death_is_recorded_before_the_wait_at_exit() {
    let pod = Pod::new();
    let sexton = pod.container("app", &["--wait", "1000"], ["true"]).start();
    pod.wait_for_tombstone("app", "ExitCode: 0");
    drop(sexton);
}

#[test]
fn restart_of_a_supervised_process_keeps_the_birth_and_withdraws_readiness() {
    let pod = Pod::new();
    let command = "echo x >> starts; [ $(wc -l < starts) = 1 ] || exec sleep 1000; \
                   until [ -e go ]; do sleep 0.01; done; exit 1";
    let sexton = pod.wrapped("supervise", "app", &["--wait", "300ms"], ["sh", "-c", command]).start();
    let first = pod.wait_for_tombstone("app", "Ready:");
    fs::write(sexton.path("go"), "").unwrap_or_default();
    let between = wait_until("the back-off delay", || {
        Some(pod.tombstone("app")).filter(|text| !text.contains("Ready"))
    });
    assert_eq!(value(&between, "Died"), None, "{between}");
    let second = pod.wait_for_tombstone("app", "Ready:");
    assert_eq!(value(&first, "Born"), value(&second, "Born"));
    assert_eq!(value(&first, "Incarnation"), value(&second, "Incarnation"));
    assert!(value(&first, "Ready") < value(&second, "Ready"), "{first}{second}");
    sexton.stop();
    assert_eq!(value(&pod.tombstone("app"), "ExitCode"), Some("143"));
}

#[test]
fn mapped_exit_codes_are_recorded() {
    let pod = Pod::new();
    let exit_code = |options: &[&str], command: &str| {
        let code = pod.container("app", options, ["sh", "-c", command]).done().code;
        assert_eq!(value(&pod.tombstone("app"), "ExitCode"), Some(code.to_string().as_str()), "{options:?}");
        code
    };
    assert_eq!(exit_code(&["--exit-codes", "3=0,4=5"], "exit 3"), 0);
    assert_eq!(exit_code(&["--exit-codes", "3=0,4=5"], "exit 4"), 5);
    assert_eq!(exit_code(&["--exit-codes", "caused=0"], "exit 4"), 4);
    let sexton = pod.container("app", &["--exit-codes", "caused=0"], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("app", "Ready:");
    assert_eq!(sexton.stop().code, 0);
    assert_eq!(value(&pod.tombstone("app"), "Signal"), Some("TERM"));
}

#[test]
fn tombstone_is_replaced_atomically() {
    let pod = Pod::new();
    let sexton = pod.wrapped("supervise", "app", &["--wait", "1ms"], ["true"]).start();
    let mut inodes = std::collections::BTreeSet::new();
    wait_until("a hundred changes", || {
        let path = pod.graveyard().join("app");
        let (Ok(text), Ok(meta)) = (fs::read_to_string(&path), fs::metadata(&path)) else { return None };
        assert!(text.ends_with("Lock: flock\n") && text.contains("Incarnation: "), "{text:?}");
        inodes.insert((meta.ino(), text));
        (inodes.len() > 100).then_some(())
    });
    sexton.stop();
    assert_eq!(pod.names(), ["app"]);
}

#[test]
fn removed_graveyard_is_created_again() {
    let pod = Pod::new();
    let sexton = pod.container("app", &[], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("app", "Ready:");
    fs::remove_dir_all(pod.graveyard()).unwrap_or_else(|error| panic!("{error}"));
    sexton.stop();
    assert_eq!(value(&pod.tombstone("app"), "ExitCode"), Some("143"));
}

#[test]
fn death_is_recorded_on_a_full_disk() {
    if !is_root() {
        return skipped("root, to mount a file system");
    }
    let pod = Pod::new();
    let graveyard = pod.graveyard();
    let directory = graveyard.display();
    // Each file takes a page of the file system, so a second file does not fit.
    let script = format!(
        "mkdir -p {directory} && mount -t tmpfs -o size=8k tmpfs {directory} && \
         {} -v -p none run --name app --graveyard {directory} -- sh -c 'echo there > there; head -c 100000 /dev/zero > {directory}/.fill; exit 4' ; \
         echo code $?; cat {directory}/app",
        crate::harness::SEXTON
    );
    let done = Sexton::program("/usr/bin/unshare".as_ref(), ["--mount", "sh", "-c", &script]).done();
    assert!(done.stdout.contains("code 4"), "{} {}", done.stdout, done.stderr);
    assert_eq!(value(&done.stdout, "ExitCode"), Some("4"), "{} {}", done.stdout, done.stderr);
    assert!(
        done.stderr.contains("cannot write tombstone") || done.stdout.contains("Died"),
        "{}",
        done.stderr
    );
}

#[test]
fn invalid_options_are_rejected_before_anything_starts() {
    let pod = Pod::new();
    fs::write(pod.path("file"), "").unwrap_or_default();
    for (options, code, part) in [
        (vec!["--name", "a/b"], 64, "--name 'a/b' is not a valid tombstone name: it contains a /"),
        (vec!["--name", ".."], 64, "it is a directory"),
        (vec!["--death-dep", "x:gone"], 64, "--death-dep 'x:gone': 'x:gone': expected one of started"),
        (vec!["--birth-dep", "../x"], 64, "expected a tombstone name or an absolute path"),
        (vec!["--birth-timeout", "soon"], 64, "--birth-timeout 'soon': expected seconds"),
        (vec!["--exit-codes", "300=0"], 64, "with codes from 0 to 255"),
        (vec!["--graveyard-mode", "999"], 64, "expected a mode in octal"),
        (vec!["--quit-when", "never"], 64, "expected always or success"),
        (vec!["--quit", "linkrd"], 64, "did you mean 'linkerd'?"),
        (vec!["--graveyard", ""], 64, "--graveyard '': expected a directory"),
        (vec!["--graveyard", "/proc/none"], 73, "cannot use graveyard /proc/none"),
        (vec!["--pod-name", "x", "--birth-dep", "y"], 73, "KUBERNETES_SERVICE_HOST"),
    ] {
        let command = [&["-p", "none", "run"][..], &options, &["--", "touch", "ran"]].concat();
        let mut sexton = Sexton::new(command).env("SEXTON_NAME", "app");
        if !options.contains(&"--graveyard") {
            sexton = sexton.env("SEXTON_GRAVEYARD", pod.graveyard());
        }
        let running = sexton.start();
        let ran = running.path("ran");
        let done = running.done();
        assert_eq!(done.code, code, "{options:?}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{options:?}: {}", done.stderr);
        assert!(!ran.exists(), "{options:?}");
    }
}

#[test]
fn graves_command_lists_tombstones_with_their_states() {
    let pod = Pod::new();
    let ready = pod.container("ready", &[], ["sleep", "1000"]).start();
    let waiting = pod.container("waiting", &["--birth-dep", "absent"], ["sleep", "1000"]).start();
    assert_eq!(pod.container("dead", &[], ["false"]).done().code, 1);
    pod.wait_for_tombstone("ready", "Ready:");
    pod.wait_for_tombstone("waiting", "Incarnation:");
    pod.write_tombstone("born", BORN);
    pod.write_tombstone("broken", "Born: {");
    pod.write_tombstone(".hidden", "");
    let gone = pod.container("gone", &[], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("gone", "Ready:");
    drop(gone);
    let graveyard = pod.graveyard();
    let list = |options: &[&str]| {
        let directory = graveyard.to_string_lossy();
        let arguments = [&["graves", &directory][..], options].concat();
        Sexton::new(arguments).done()
    };
    let done = list(&["-o", "json"]);
    let graves: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", done.stdout));
    let states: Vec<_> = graves
        .as_array()
        .into_iter()
        .flatten()
        .map(|grave| (grave["name"].as_str().unwrap_or(""), grave["state"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        states,
        [
            ("born", "born"),
            ("broken", "unreadable"),
            ("dead", "dead"),
            ("gone", "gone"),
            ("ready", "ready"),
            ("waiting", "announced")
        ]
    );
    assert_eq!(graves[2]["exitCode"], 1);
    let table = list(&[]).stdout;
    assert!(table.starts_with("NAME     STATE       AGE"), "{table}");
    assert!(table.contains("exited with code 1"), "{table}");
    drop((ready, waiting));
    let done = Sexton::new(["graves", "/none"]).done();
    assert_eq!(done.code, 66);
    assert!(done.stderr.contains("cannot read the graveyard /none: no such file"), "{}", done.stderr);
}

#[test]
fn unwritable_tombstone_is_reported() {
    let pod = Pod::new();
    let sexton = pod.container("app", &[], ["sleep", "1000"]).start();
    pod.wait_for_tombstone("app", "Ready:");
    fs::remove_dir_all(pod.graveyard()).and_then(|()| fs::write(pod.graveyard(), "")).unwrap_or_default();
    let done = sexton.stop();
    assert_eq!(done.code, 143);
    assert!(done.stderr.contains("cannot write tombstone"), "{}", done.stderr);
}

#[test]
fn only_the_last_created_directory_is_world_writable() {
    let pod = Pod::new();
    let graveyard = pod.path("deep/down/graveyard");
    let done = Sexton::without_server([
        "run",
        "--name",
        "app",
        "--graveyard",
        &graveyard.to_string_lossy(),
        "--",
        "true",
    ])
    .done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    let mode = |name: &str| fs::metadata(pod.path(name)).map_or(0, |it| it.permissions().mode() & 0o7777);
    assert_eq!(mode("deep/down/graveyard"), 0o1777);
    assert_eq!(mode("deep/down") & 0o022, 0, "{:o}", mode("deep/down"));
}

#[test]
fn temporary_file_of_another_user_does_not_prevent_writing() {
    if !is_root() {
        return skipped("root, to change the user");
    }
    let pod = Pod::new();
    pod.write_tombstone(".app.1", "");
    fs::set_permissions(pod.graveyard(), fs::Permissions::from_mode(0o1777)).unwrap_or_default();
    fs::set_permissions(pod.path(""), fs::Permissions::from_mode(0o777)).unwrap_or_default();
    // PID 1, as in a container, and not the owner of the existing file.
    let script = format!(
        "exec setpriv --reuid 1001 --regid 1001 --clear-groups {} -p none run --name app --graveyard {} -- true",
        crate::harness::SEXTON,
        pod.graveyard().display()
    );
    let arguments = ["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
    let done = Sexton::program("/usr/bin/unshare".as_ref(), arguments).done();
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(value(&pod.tombstone("app"), "ExitCode"), Some("0"), "{}", done.stderr);
    assert_eq!(pod.names(), [".app.1", "app"], "sexton must leave no temporary files");
}
