//! Simulated containers: each has its own PID and mount namespaces and user, and all share one directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use testkit::wait_until;

use super::{Pod, value};
use crate::harness::{Running, SEXTON, Sexton, is_root, skipped};

/// Runs sexton as PID 1 of a container with this user ID.
fn container(pod: &Pod, user: u32, name: &str, options: &str, command: &str) -> Running {
    let graveyard = pod.graveyard();
    let script = format!(
        "mount -t tmpfs tmpfs /mnt && cd /mnt && exec setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs \
         {SEXTON} -v -p none run --name {name} --graveyard {} {options} -- sh -c '{command}'",
        graveyard.display()
    );
    let arguments = ["--pid", "--mount", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
    Sexton::program(Path::new("/usr/bin/unshare"), arguments).start()
}

#[test]
fn job_proxy_and_logger_start_and_exit_in_dependency_order() {
    if !is_root() {
        return skipped("root, to create namespaces");
    }
    let pod = Pod::new();
    // The other users need access to the whole path, and the first of them creates the directory.
    for directory in [pod.path(""), pod.path("").parent().unwrap_or(Path::new("/")).to_path_buf()] {
        let mode = fs::metadata(&directory).map(|it| it.permissions().mode()).unwrap_or(0o755);
        if mode & 0o001 == 0 {
            fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap_or_default();
        }
    }
    fs::set_permissions(pod.path(""), fs::Permissions::from_mode(0o777)).unwrap_or_default();
    let command = "trap \"exit 0\" TERM; while :; do sleep 0.01; done";
    let job = container(&pod, 1001, "job", "--birth-dep proxy,logger", "exit 3");
    job.wait_for_stderr("waiting for proxy to be ready; logger to be ready");
    let logger = container(&pod, 1002, "logger", "--death-dep proxy", command);
    pod.wait_for_tombstone("logger", "Ready:");
    assert!(!pod.tombstone("job").contains("Born"), "{}", pod.tombstone("job"));
    let proxy = container(&pod, 1003, "proxy", "--death-dep job", command);
    let (job, proxy, logger) = (job.done(), proxy.done(), logger.done());
    assert_eq!(
        (job.code, proxy.code, logger.code),
        (3, 0, 0),
        "{}{}{}",
        job.stderr,
        proxy.stderr,
        logger.stderr
    );
    let died = |name: &str| value(&pod.tombstone(name), "Died").map(str::to_owned);
    assert!(died("job").is_some() && died("job") < died("proxy") && died("proxy") < died("logger"));
    let owner = |name: &str| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(pod.graveyard().join(name)).map(|it| it.uid()).unwrap_or(0)
    };
    assert_eq!((owner("job"), owner("logger"), owner("proxy")), (1001, 1002, 1003));
}

#[test]
fn exit_of_a_killed_container_stops_its_dependents() {
    if !is_root() {
        return skipped("root, to create namespaces");
    }
    let pod = Pod::new();
    fs::set_permissions(pod.path(""), fs::Permissions::from_mode(0o777)).unwrap_or_default();
    let job = container(&pod, 1001, "job", "", "exec sleep 1000");
    let proxy = container(&pod, 1003, "proxy", "--death-dep job", "exec sleep 1000");
    pod.wait_for_tombstone("job", "Ready:");
    pod.wait_for_tombstone("proxy", "Ready:");
    let init = wait_until("PID 1", || {
        job.descendants().iter().find(|(_, name)| name.as_str() == "sexton").map(|(pid, _)| *pid)
    });
    // As the kernel's OOM killer does: no exit is recorded.
    crate::harness::send(init, libc::SIGKILL);
    let done = proxy.done();
    assert_eq!(done.code, 143, "{}", done.stderr);
    assert!(done.stderr.contains("(job exited, exit code unknown)"), "{}", done.stderr);
}
