//! A process that misbehaves as its arguments say.
//!
//! ```text
//! testkit-child deaf FILE              hears nothing but KILL; says so in FILE
//! testkit-child record FILE            appends the number of each signal it gets to FILE; ends at STOP_AT
//! testkit-child orphans N FILE         leaves N orphans that all end at the same moment, then waits; says so in FILE
//! testkit-child daemon FILE            forks twice and leaves; the daemon's number is in FILE
//! testkit-child inspect                prints whether it leads its group, its session and its descriptors
//! testkit-child burst LINES            writes so many numbered lines and ends at once, without a last line end
//! testkit-child end-by SIGNAL          ends by that signal
//! testkit-child say FD                 writes a line to that descriptor, closes it and waits
//! testkit-child stamp-end FILE         waits for TERM, appends the monotonic clock at that moment, and ends
//! testkit-child stamp FILE             appends the monotonic clock, in nanoseconds, at its begin and at its end
//! ```

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::path::Path;
use std::process::ExitCode;
use std::{env, ptr};

/// `record` ends when it has had this many signals of the kind that ends it.
const ENDING: i32 = libc::SIGTERM;

fn main() -> ExitCode {
    let begun = monotonic();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["deaf", file] => deaf(file),
        ["record", file] => record(file),
        ["orphans", count, file] => orphans(number(count), file),
        ["daemon", file] => daemon(file),
        ["inspect"] => inspect(),
        ["burst", lines] => burst(number(lines)),
        ["end-by", signal] => end_by(number(signal)),
        ["say", descriptor] => say_on(number(descriptor)),
        ["stamp", file] => stamp(file, begun),
        ["stamp-end", file] => stamp_end(file),
        _ => {
            eprintln!("testkit-child: cannot do {arguments:?}");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

fn number(word: &str) -> i32 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// Writes a file atomically, so that it can be read as soon as it exists.
fn say(file: &str, text: &str) {
    let temporary = format!("{file}.new");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, file))
        .unwrap_or_else(|error| panic!("{file}: {error}"));
}

fn block_all() -> libc::sigset_t {
    let mut all = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
        all.assume_init()
    }
}

fn wait_for(set: &libc::sigset_t) -> i32 {
    let mut signal = 0;
    // SAFETY: both pointers are valid for the call.
    unsafe { libc::sigwait(set, &raw mut signal) };
    signal
}

fn deaf(file: &str) {
    let all = block_all();
    say(file, &std::process::id().to_string());
    loop {
        wait_for(&all);
    }
}

fn record(file: &str) {
    let all = block_all();
    let mut out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .unwrap_or_else(|error| panic!("{file}: {error}"));
    let _ = writeln!(out, "ready");
    loop {
        let signal = wait_for(&all);
        let _ = writeln!(out, "{signal}");
        if signal == ENDING {
            return;
        }
    }
}

fn orphans(count: i32, file: &str) {
    let mut pipe = [0; 2];
    // SAFETY: the array has room for both; after a fork of this single-threaded process everything is
    // allowed.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        for _ in 0..count {
            match libc::fork() {
                0 => {
                    if libc::fork() == 0 {
                        libc::close(pipe[1]);
                        let mut byte = 0u8;
                        // Ends when the other end is closed, as all the others do.
                        libc::read(pipe[0], (&raw mut byte).cast(), 1);
                    }
                    libc::_exit(0);
                }
                -1 => panic!("fork: {}", std::io::Error::last_os_error()),
                between => {
                    libc::waitpid(between, ptr::null_mut(), 0);
                }
            }
        }
        libc::close(pipe[1]);
    }
    say(file, "let go");
    let all = block_all();
    while wait_for(&all) != ENDING {}
}

fn daemon(file: &str) {
    // SAFETY: this process is single-threaded: after a fork everything is allowed.
    unsafe {
        match libc::fork() {
            0 => {
                libc::setsid();
                if libc::fork() == 0 {
                    say(file, &std::process::id().to_string());
                    loop {
                        libc::pause();
                    }
                }
                libc::_exit(0);
            }
            between => {
                libc::waitpid(between, ptr::null_mut(), 0);
            }
        }
        // The supervisor may kill the daemon as soon as this process has exited: it must have written before.
        while !Path::new(file).exists() {
            libc::sched_yield();
        }
    }
}

fn inspect() {
    // SAFETY: no memory is involved.
    let (pid, group, session) = unsafe { (libc::getpid(), libc::getpgrp(), libc::getsid(0)) };
    println!("leads: {} session: {session}", pid == group);
    let mut descriptors: Vec<i32> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    descriptors.sort_unstable();
    // The last is the directory itself.
    descriptors.pop();
    println!("descriptors: {descriptors:?}");
}

fn burst(lines: i32) {
    let text: Vec<String> = (1..=lines).map(|line| format!("line {line}")).collect();
    let _ = std::io::stdout().write_all(text.join("\n").as_bytes());
}

fn end_by(signal: i32) {
    // SAFETY: no memory is involved.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn say_on(descriptor: i32) {
    // SAFETY: one byte of a constant; the descriptor belongs to this process.
    unsafe {
        libc::write(descriptor, b"\n".as_ptr().cast(), 1);
        libc::close(descriptor);
    }
    let all = block_all();
    while wait_for(&all) != ENDING {}
}

fn monotonic() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure is valid for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn stamp_end(file: &str) {
    let all = block_all();
    let mut open =
        OpenOptions::new().append(true).create(true).open(file).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut signal = 0;
    while signal != ENDING {
        // SAFETY: both outlive the call.
        unsafe { libc::sigwait(&raw const all, &raw mut signal) };
    }
    let at = monotonic();
    writeln!(open, "{at}").unwrap_or_else(|error| panic!("{file}: {error}"));
}

fn stamp(file: &str, begun: i64) {
    let mut out = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .unwrap_or_else(|error| panic!("{file}: {error}"));
    let _ = writeln!(out, "{begun} {}", monotonic());
}
