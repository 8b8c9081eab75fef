//! The exec of a process: as execvp(3), but only a text file is run by the shell, and a failure is explained.
//!
//! execvp(3) runs every file of an unknown format with `/bin/sh`, also a program of another machine architecture.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use spec::program::Program;
use spec::text::describe;

/// The search path if there is none in the environment; confstr(3), `_CS_PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// The shell that runs text files without an interpreter.
pub(crate) const SHELL: &CStr = c"/bin/sh";
/// The length of the start of a file that is examined.
pub(crate) const HEAD: usize = 256;

/// The names under which the program is searched, in order.
pub(crate) fn candidates(command: &OsStr, path: Option<&OsStr>) -> io::Result<Vec<CString>> {
    let directories = path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes().split(|byte| *byte == b':');
    let names: Vec<Vec<u8>> = if command.is_empty() || command.as_bytes().contains(&b'/') {
        vec![command.as_bytes().to_vec()]
    } else {
        let join = |directory: &[u8]| match directory {
            b"" => command.as_bytes().to_vec(),
            directory => [directory, b"/", command.as_bytes()].concat(),
        };
        directories.map(join).collect()
    };
    Ok(names.into_iter().map(CString::new).collect::<Result<_, _>>()?)
}

/// Whether the start of a file is that of a text: it has no NUL byte, as every binary format has one.
pub(crate) fn is_text(head: &[u8]) -> bool {
    !head.contains(&0)
}

/// Explains why execve(2) failed.
pub(crate) fn explain(program: &Program, error: &io::Error) -> String {
    let command = &program.command;
    let has_slash = command.as_bytes().contains(&b'/');
    match error.raw_os_error() {
        _ if command.is_empty() => "its name is empty".to_owned(),
        Some(libc::ENOENT | libc::ENOTDIR) if !has_slash => "no such program in PATH".to_owned(),
        Some(libc::ENOENT) => missing(&location(program)).unwrap_or_else(|| "no such file".to_owned()),
        Some(libc::ENOTDIR) => "a part of its path is not a directory".to_owned(),
        Some(libc::EACCES) => {
            denied(&location(program)).unwrap_or_else(|| "permission denied".to_owned())
        }
        Some(libc::ENOEXEC) => {
            "exec format error: neither a program for this machine nor a text file".to_owned()
        }
        Some(libc::E2BIG) => {
            "its arguments and variables are too long (limits of execve(2): 128 KiB each, a quarter of the stack limit together)"
                .to_owned()
        }
        Some(libc::ETXTBSY) => "the file is open for writing".to_owned(),
        _ => describe(error),
    }
}

/// Where a program whose name has a slash is, for the supervisor.
fn location(program: &Program) -> PathBuf {
    let directory = program.directory.as_deref().unwrap_or(Path::new(""));
    let inside = directory.join(&program.command);
    match &program.attributes.chroot {
        Some(root) => root.join(inside.strip_prefix("/").unwrap_or(&inside)),
        None => inside,
    }
}

/// What is missing although the file exists: its interpreter, or its loader.
fn missing(file: &Path) -> Option<String> {
    let mut head = Vec::new();
    fs::File::open(file).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
    Some(match interpreter(&head) {
        Some(interpreter) => format!("its interpreter {} does not exist", interpreter.display()),
        None => "the file exists, but the loader that it needs does not".to_owned(),
    })
}

fn denied(file: &Path) -> Option<String> {
    let metadata = fs::metadata(file).ok()?;
    if metadata.is_dir() {
        return Some("it is a directory".to_owned());
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o111 == 0 {
        return Some(format!("the file is not executable (mode {mode:04o})"));
    }
    let mut head = Vec::new();
    fs::File::open(file).ok()?.take(HEAD as u64).read_to_end(&mut head).ok()?;
    let interpreter = interpreter(&head)?;
    let mode = fs::metadata(&interpreter).ok()?.permissions().mode();
    (mode & 0o111 == 0).then(|| format!("its interpreter {} is not executable", interpreter.display()))
}

/// The interpreter in the first line of a script.
fn interpreter(head: &[u8]) -> Option<PathBuf> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.trim_ascii().split(u8::is_ascii_whitespace).next()?;
    Some(PathBuf::from(OsString::from_vec(name.to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_slash_is_searched_in_the_path() {
        let names = |command: &str, path: Option<&str>| -> Vec<String> {
            let found = candidates(OsStr::new(command), path.map(OsStr::new));
            let found = found.unwrap_or_else(|error| panic!("{error}"));
            found.iter().map(|name| name.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names("x", Some("/a:/b")), ["/a/x", "/b/x"]);
        assert_eq!(names("x", Some("/a::")), ["/a/x", "x", "x"], "an empty entry is the working directory");
        assert_eq!(names("./x", Some("/a")), ["./x"]);
        assert_eq!(names("x", None), ["/bin/x", "/usr/bin/x"]);
        assert!(candidates(OsStr::new("a\0b"), None).is_err());
    }

    #[test]
    fn interpreters_are_found() {
        let found = |head: &[u8]| interpreter(head).map(|path| path.display().to_string());
        assert_eq!(found(b"#!/bin/sh\n").as_deref(), Some("/bin/sh"));
        assert_eq!(found(b"#! /usr/bin/env  python3 -u\r\n").as_deref(), Some("/usr/bin/env"));
        assert_eq!(found(b"echo\n"), None);
    }
}
