//! Attributes of a process: identity, root, limits, priority.

use super::{ends, up};
use crate::harness::{is_root, skipped};

#[test]
fn limits_mask_priority_and_directory_are_set() {
    let done = ends(
        "processes:\n  a: {command: [sh, -c, 'ulimit -n; umask; pwd; nice; cat /proc/self/oom_score_adj; ps -o sid= -p $$$$ | tr -d \" \" ; echo $$$$'], restartPolicy: Never, logs: {format: raw}, rlimits: {nofile: '100:200', core: 0}, umask: '027', workingDir: /usr, nice: 5, oomScoreAdj: 300, setsid: true}\n",
    );
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(&lines[..5], ["100", "0027", "/usr", "5", "300"], "{}", done.stderr);
    assert_eq!(lines[5], lines[6], "it leads its session");
}

#[test]
fn the_descriptor_limit_of_the_process_is_the_original_one() {
    let directory = super::place(
        "processes: {a: {command: [sh, -c, 'ulimit -n'], restartPolicy: Never, logs: {format: raw}}}",
    );
    let script = format!(
        "ulimit -Sn 333; exec {} -p none up --control none {}",
        crate::harness::SEXTON,
        directory.path().join("sexton.yaml").display()
    );
    let done = crate::harness::Sexton::program("/bin/sh".as_ref(), ["-c", &script]).done();
    assert_eq!(done.stdout, "333\n", "{}", done.stderr);
}

#[test]
fn user_group_and_supplementary_groups_are_set() {
    if !is_root() {
        return skipped("root, to change user and root directory");
    }
    let done = ends(
        "processes:\n  a: {command: [sh, -c, 'id -u; id -g; id -G; cat /proc/self/status | grep -c \"^Uid:.12345.12345.12345.12345\"'], restartPolicy: Never, logs: {format: raw}, securityContext: {runAsUser: 12345, runAsGroup: 54321, supplementalGroups: [7, 54321]}}\n",
    );
    let lines: Vec<_> = done.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{}{}", done.stdout, done.stderr);
    assert_eq!((lines[0], lines[1], lines[3]), ("12345", "54321", "1"));
    let mut groups: Vec<_> = lines[2].split(' ').collect();
    groups.sort_unstable();
    assert_eq!(groups, ["54321", "7"]);
    let done = ends(
        "processes:\n  a: {command: [id, -G], restartPolicy: Never, logs: {format: raw}, securityContext: {runAsUser: nobody}}\n",
    );
    assert_eq!(done.stdout, "65534\n", "no group of sexton is kept; {}", done.stderr);
}

#[test]
fn pipes_belong_to_the_user_of_the_process() {
    if !is_root() {
        return skipped("root, to change the user");
    }
    for format in ["raw", "logfmt"] {
        let done = ends(&format!(
            "logs: {{format: {format}}}\nprocesses:\n  a: {{command: [sh, -c, 'echo out > /dev/stdout && echo err > /dev/stderr'], restartPolicy: Never, securityContext: {{runAsUser: 33, runAsGroup: 33}}}}\n"
        ));
        assert!(done.stdout.contains("out\n") && done.stdout.contains("err\n"), "{done:?}");
    }
}

#[test]
fn home_is_that_of_the_user_unless_it_is_configured() {
    if !is_root() {
        return skipped("root, to change the user");
    }
    let of = |more: &str| {
        let done = ends(&format!(
            "logs: {{format: raw}}\nprocesses:\n  a: {{command: [sh, -c, 'echo $HOME'], restartPolicy: Never{more}}}\n"
        ));
        done.stdout
    };
    assert_eq!(of(", securityContext: {runAsUser: www-data}"), "/var/www\n");
    assert_eq!(of(", securityContext: {runAsUser: 54321}"), "/\n", "a user that passwd(5) does not have");
    assert_eq!(of(", env: {HOME: /srv}, securityContext: {runAsUser: www-data}"), "/srv\n");
}

#[test]
fn the_identity_that_sexton_has_may_be_asked_for() {
    if !is_root() {
        return skipped("root, to change the user");
    }
    let directory = super::place(
        "processes: {a: {command: [id], restartPolicy: Never, logs: {format: raw}, securityContext: {runAsUser: 33, runAsGroup: 33}}}",
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(directory.path(), open).unwrap_or_default();
    let copy = directory.path().join("sexton-program");
    testkit::copy_executable(crate::harness::SEXTON.as_ref(), &copy);
    let file = directory.path().join("sexton.yaml").display().to_string();
    for groups in [&["--clear-groups"][..], &["--groups", "33,44"]] {
        let program = copy.display().to_string();
        let mut arguments = vec!["--reuid", "33", "--regid", "33"];
        arguments.extend(groups);
        arguments.extend([program.as_str(), "-p", "none", "up", "--control", "none", file.as_str()]);
        let done = crate::harness::Sexton::program("/usr/bin/setpriv".as_ref(), arguments).done();
        assert!(done.stdout.starts_with("uid=33(www-data) gid=33(www-data)"), "{groups:?}: {done:?}");
    }
}

#[test]
fn an_attribute_that_cannot_be_set_prevents_the_start_and_is_named() {
    for (what, part) in [
        ("workingDir: /no/such", "cannot change to its working directory '/no/such': no such file"),
        ("chroot: /no/such", "cannot change its root directory (chroot) '/no/such': "),
        ("rlimits: {nofile: '9999999999'}", "cannot set its resource limits (rlimits): "),
    ] {
        let done = ends(&format!(
            "processes:\n  a: {{command: [touch, $DIR/started], restartPolicy: Never, {what}}}\n"
        ));
        assert_eq!(done.code, 126, "{what}: {}", done.stderr);
        assert!(done.stderr.contains(part), "{what}: {}", done.stderr);
    }
}

#[test]
fn without_privileges_another_user_is_an_error() {
    if !is_root() {
        return skipped("root, to change the user first");
    }
    let directory = super::place(
        "processes: {a: {command: [touch, $DIR/started], restartPolicy: Never, securityContext: {runAsUser: 0, runAsGroup: 0}}}",
    );
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open).unwrap_or_default();
    let copy = directory.path().join("sexton-program");
    testkit::copy_executable(crate::harness::SEXTON.as_ref(), &copy);
    let arguments = [
        "--reuid",
        "54321",
        "--regid",
        "54321",
        "--clear-groups",
        &copy.to_string_lossy(),
        "-p",
        "none",
        "up",
        "--control",
        "none",
        &directory.path().join("sexton.yaml").to_string_lossy(),
    ]
    .map(str::to_owned);
    let done = crate::harness::Sexton::program("/usr/bin/setpriv".as_ref(), arguments).done();
    assert_eq!(done.code, 126, "{}", done.stderr);
    assert!(
        done.stderr.contains("cannot set its supplementary groups")
            || done.stderr.contains("cannot set its group"),
        "{}",
        done.stderr
    );
    assert!(!directory.path().join("started").exists());
}

#[test]
fn chroot_is_set() {
    if !is_root() {
        return skipped("root, to change user and root directory");
    }
    let directory = super::place(
        "processes: {a: {command: [/child, inspect], restartPolicy: Never, logs: {format: raw}, chroot: $DIR/root, securityContext: {runAsUser: 12345}}}",
    );
    std::fs::create_dir(directory.path().join("root")).unwrap_or_default();
    testkit::copy_executable(&testkit::child(), &directory.path().join("root/child"));
    for part in ["", "root"] {
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path().join(part), open).unwrap_or_default();
    }
    let up = super::up_in(directory, &super::With::default());
    let done = up.sexton.done();
    assert!(done.stdout.contains("leads: true"), "{}{}", done.stdout, done.stderr);
}

#[test]
fn escaped_processes_end_with_their_own_run() {
    let mut up = up(
        "processes:\n  a: {command: [sh, -c, '$CHILD daemon $DIR/a; exec sleep 1000']}\n  b: {command: [sh, -c, '$CHILD daemon $DIR/b; exec sleep 1000']}\n",
    );
    up.wait_ready("b");
    let pid = |name: &str| testkit::wait_until(name, || up.text(name).trim().parse::<i32>().ok());
    let (a, b) = (pid("a"), pid("b"));
    up.asked(&["stop", "a"]);
    assert!(!testkit::tree::is_alive(a), "what it left behind has ended with it");
    assert!(testkit::tree::is_alive(b), "and the other's has not");
    up.asked(&["stop", "b"]);
    assert!(!testkit::tree::is_alive(b));
}
