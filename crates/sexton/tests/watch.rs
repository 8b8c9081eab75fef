//! `sexton watch`: processes that sexton did not start.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use testkit::{TempDir, private_directory, wait_until};

use crate::harness::{Running, SEXTON, Sexton, is_root, send, skipped};

/// A program with a unique name.
struct Program {
    directory: TempDir,
    name: String,
}

impl Program {
    fn new(kind: &str) -> Self {
        let directory = private_directory();
        let name = format!(
            "w{kind}{}",
            directory.path().to_string_lossy().bytes().rev().take(4).map(char::from).collect::<String>()
        );
        // The kernel names a process by the path that was executed, be that a link.
        symlink(testkit::child(), directory.path().join(&name)).unwrap_or_default();
        Self { directory, name }
    }

    fn start(&self, arguments: &[&str]) -> Started {
        let mut command = Command::new(self.directory.path().join(&self.name));
        Started(
            command.args(arguments).stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{error}")),
        )
    }

    /// A process that stays until it is stopped.
    fn stay(&self) -> Started {
        let file = self.directory.path().join("said");
        let _ = fs::remove_file(&file);
        let started = self.start(&["record", &file.to_string_lossy()]);
        wait_until("it is there", || fs::read_to_string(&file).ok().filter(|text| !text.is_empty()));
        started
    }
}

struct Started(Child);

impl Started {
    fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap_or(0)
    }

    fn end(mut self, signal: i32) {
        send(self.pid(), signal);
        let _ = self.0.wait();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn watching(arguments: &[&str]) -> Running {
    Sexton::with_server(arguments.iter().copied()).start()
}

#[track_caller]
fn wait_for_status(sexton: &mut Running, status: &str) -> serde_json::Value {
    wait_until(status, || Some(sexton.json("/")).filter(|state| state["Status"] == status))
}

#[test]
fn no_match_is_one_stopped_object() {
    let mut sexton = watching(&["watch", "--wait", "7", "no-such-program"]);
    let state = sexton.json("/");
    assert_eq!(
        (&state["Status"], &state["Mode"], &state["Wait"]),
        (&"stopped".into(), &"watch".into(), &7.into())
    );
    assert_eq!((&state["StartTime"], &state["EndTime"]), (&"".into(), &"".into()));
    assert_eq!(sexton.get("/readiness").code, 503);
    assert_eq!(sexton.stop().code, 0);
}

#[test]
fn one_match_is_an_object_with_arguments_and_start_time() {
    let program = Program::new("one");
    let mut sexton = watching(&["watch", "--wait", "20ms", &program.name]);
    assert_eq!(sexton.json("/")["Status"], "stopped");
    let started = program.stay();
    let state = wait_for_status(&mut sexton, "running");
    assert!(state["Command"].as_str().is_some_and(|command| command.ends_with(&program.name)), "{state}");
    assert_eq!(state["Arguments"][0], "record");
    assert_eq!(sexton.process()["pid"], started.pid());
    let day = |text: &str| text.get(..16).map(str::to_owned);
    let now = Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M"])
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let began = state["StartTime"].as_str().and_then(day);
    assert!(began.is_some() && began <= now.ok().as_deref().and_then(day), "{state}");
    assert_eq!(sexton.get("/readiness").code, 200);

    started.end(libc::SIGTERM);
    let state = wait_for_status(&mut sexton, "stopped");
    assert_ne!(state["EndTime"], "");
}

#[test]
fn the_exit_code_of_a_foreign_child_is_known_if_the_kernel_reports_it() {
    let program = Program::new("code");
    let started = program.stay();
    // Looks are an hour apart: what is known of the end comes from holding on to the process.
    let mut sexton = watching(&["watch", "--wait", "1h", &program.name]);
    wait_for_status(&mut sexton, "running");
    started.end(libc::SIGKILL);
    let state = wait_until("the end", || Some(sexton.json("/")).filter(|state| state["Status"] != "running"));
    if kernel_tells_exits() {
        assert_eq!((&state["Status"], &state["ExitCode"]), (&"killed".into(), &137.into()));
    } else {
        assert_eq!((&state["Status"], &state["ExitCode"]), (&"stopped".into(), &0.into()));
    }
}

fn kernel_tells_exits() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).filter_map(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 15)
}

#[test]
fn a_parent_that_reaps_late_loses_no_exit_code() {
    let program = Program::new("late");
    let mut started = program.stay();
    let mut sexton = watching(&["watch", "--wait", "5ms", &program.name]);
    wait_for_status(&mut sexton, "running");
    // It is a zombie during many scans, and its end is reported before its exit code is known.
    send(started.pid(), libc::SIGKILL);
    wait_until("its end is reported", || (sexton.json("/")["Status"] != "running").then_some(()));
    let _ = started.0.wait();
    if kernel_tells_exits() {
        assert_eq!(wait_for_status(&mut sexton, "killed")["ExitCode"], 137);
    }
}

#[test]
fn scans_before_the_reaping_lose_no_exit_code() {
    let program = Program::new("race");
    let mut sexton = watching(&["watch", "--wait", "1ms", &program.name]);
    for _ in 0..25 {
        let started = program.stay();
        wait_for_status(&mut sexton, "running");
        started.end(libc::SIGKILL);
        wait_until("its end", || (sexton.json("/")["Status"] != "running").then_some(()));
        if kernel_tells_exits() {
            wait_for_status(&mut sexton, "killed");
        }
    }
}

#[test]
fn the_start_time_is_the_same_in_each_scan() {
    let program = Program::new("start");
    let _started = program.stay();
    let mut sexton = watching(&["watch", "--wait", "2ms", &program.name]);
    let start = wait_for_status(&mut sexton, "running")["StartTime"].clone();
    let generation = sexton.json("/v1/process")["generation"].as_u64();
    wait_until("many looks", || {
        (sexton.json("/v1/process")["generation"].as_u64() > generation.map(|g| g + 20)).then_some(())
    });
    assert_eq!(sexton.json("/")["StartTime"], start);
}

#[test]
fn a_reused_pid_is_another_process() {
    if !is_root() {
        return skipped("root, to choose the process id of the next process");
    }
    let script = format!(
        "sleep 1000 & echo $! > number
        {SEXTON} -v -i 127.0.0.1 -p 0 watch --wait 5ms -p $! &
        while [ ! -e kill ]; do sleep 0.01; done
        kill -9 $(cat number); wait $(cat number) 2>/dev/null
        echo $(($(cat number) - 1)) > /proc/sys/kernel/ns_last_pid
        sleep 1000 & [ $! = $(cat number) ] && echo yes > again || echo no > again
        wait"
    );
    let arguments = ["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script];
    let mut sexton = Sexton::program("/usr/bin/unshare".as_ref(), arguments).start();
    wait_for_status(&mut sexton, "running");
    fs::write(sexton.path("kill"), "").unwrap_or_default();
    assert_eq!(sexton.wait_for_file("again").trim(), "yes");
    wait_until("it is gone", || (sexton.json("/")["Status"] != "running").then_some(()));
    let generation = sexton.json("/v1/process")["generation"].as_u64();
    wait_until("many looks", || {
        (sexton.json("/v1/process")["generation"].as_u64() > generation.map(|g| g + 20)).then_some(())
    });
    assert_ne!(sexton.json("/")["Status"], "running");
}

#[test]
fn several_matches_are_a_list() {
    let program = Program::new("many");
    let all = [program.stay(), program.stay(), program.stay()];
    let mut sexton = watching(&["watch", "--wait", "20ms", &program.name]);
    let list = sexton.json("/");
    assert_eq!(list.as_array().map(Vec::len), Some(3), "{list}");
    drop(all);
    wait_until("all gone", || sexton.json("/").is_object().then_some(()));
}

#[test]
fn a_script_is_found_by_its_name() {
    let directory = private_directory();
    let name = format!("script-with-a-long-name-{}", std::process::id());
    let path = directory.path().join(&name);
    testkit::executable(&path, "#!/bin/sh\nread line\n");
    let script = Command::new("/bin/sh").arg(&path).stdin(Stdio::piped()).spawn().map(Started);
    let direct = Command::new(&path).stdin(Stdio::piped()).spawn().map(Started);
    let mut sexton = watching(&["watch", "--wait", "20ms", &name[..15]]);
    wait_for_status(&mut sexton, "running");
    drop((script, direct));
}

#[test]
fn a_pid_selects_one_process_and_never_another() {
    let program = Program::new("pid");
    let (first, second) = (program.stay(), program.stay());
    let mut sexton = watching(&["watch", "--wait", "20ms", "-p", &second.pid().to_string()]);
    let state = wait_for_status(&mut sexton, "running");
    assert!(state.is_object());
    assert_eq!(sexton.process()["pid"], second.pid());
    second.end(libc::SIGTERM);
    wait_for_status(&mut sexton, "stopped");
    drop(first);
}

#[test]
fn watch_does_not_match_itself_but_other_instances() {
    let mut sexton = watching(&["watch", "--wait", "20ms", "-p", "1"]);
    wait_for_status(&mut sexton, "running");
    // By its own name sexton finds every sexton but itself.
    let directory = private_directory();
    let name = format!("sx{}", std::process::id());
    let path = directory.path().join(&name);
    symlink(SEXTON, &path).unwrap_or_default();
    let mut watcher =
        Sexton::program(&path, ["-v", "-i", "127.0.0.1", "-p", "0", "watch", "--wait", "20ms", &name])
            .start();
    assert_eq!(watcher.json("/")["Status"], "stopped");
    let other = Command::new(&path).args(["-p", "none", "run", "--", "sleep", "1000"]).spawn().map(Started);
    wait_until("the other", || (watcher.json("/")["Status"] == "running").then_some(()));
    if let Ok(other) = other {
        other.end(libc::SIGTERM);
    }
}
