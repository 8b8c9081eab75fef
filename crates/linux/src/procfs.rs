//! Process information from `/proc`: proc_pid_stat(5), proc_pid_cmdline(5), proc_tid_children(5).

use std::fs;
use std::io;
use std::path::Path;

use spec::program::Pid;

/// The fields of `/proc/PID/stat` that sexton uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    pub pid: Pid,
    /// File name of the executable, truncated to 15 bytes, or a name that the process has set itself.
    pub comm: String,
    /// `R`, `S`, `D`, `Z` and so on.
    pub state: char,
    /// Parent process ID.
    pub ppid: Pid,
    /// Process group ID.
    pub pgrp: Pid,
    /// Start time in clock ticks since boot.
    pub start_ticks: u64,
    /// User and system time of the process itself, without children, in clock ticks.
    pub cpu_ticks: u64,
    /// Resident memory, in pages.
    pub resident_pages: u64,
}

impl Stat {
    /// Whether it has exited and not been reaped.
    #[must_use]
    pub const fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// The name is in parentheses and may contain parentheses and spaces: the last `)` ends it.
    fn parse(line: &str) -> Option<Self> {
        let (pid, rest) = line.split_once(" (")?;
        let (comm, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Self {
            pid: pid.parse().ok()?,
            comm: comm.to_owned(),
            state: fields.first()?.chars().next()?,
            ppid: fields.get(1)?.parse().ok()?,
            pgrp: fields.get(2)?.parse().ok()?,
            start_ticks: fields.get(19)?.parse().ok()?,
            cpu_ticks: fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?,
            resident_pages: fields.get(21).and_then(|field| field.parse().ok()).unwrap_or(0),
        })
    }
}

/// Reads the status of a process. `NotFound`: no process has this ID.
pub fn stat(pid: Pid) -> io::Result<Stat> {
    let raw = fs::read(format!("/proc/{pid}/stat"))?;
    let line = String::from_utf8_lossy(&raw);
    Stat::parse(&line)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("cannot read {line:?}")))
}

/// Whether this error means that the process does not exist (any more).
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// All visible processes. A process that exits during the scan may be missing.
pub fn processes() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && let Ok(stat) = stat(pid)
        {
            found.push(stat);
        }
    }
    if found.is_empty() {
        // At least sexton itself must be there.
        return Err(io::Error::new(io::ErrorKind::NotFound, "/proc lists no processes: is it mounted?"));
    }
    Ok(found)
}

/// The arguments of a process, starting with the command. Empty for kernel threads and zombies.
pub fn arguments(pid: Pid) -> io::Result<Vec<String>> {
    let raw = fs::read(format!("/proc/{pid}/cmdline"))?;
    let trimmed = raw.strip_suffix(b"\0").unwrap_or(&raw);
    if trimmed.is_empty() {
        return Ok(Vec::new());
    }
    Ok(trimmed.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
}

/// The file name of a process's executable; None without permission to read it.
#[must_use]
pub fn executable_name(pid: Pid) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// The value of a variable in a process's initial environment.
#[must_use]
pub fn variable(pid: Pid, name: &str) -> Option<String> {
    let raw = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = |entry: &[u8]| {
        let rest = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        String::from_utf8(rest.to_vec()).ok()
    };
    raw.split(|byte| *byte == 0).find_map(value)
}

/// The children of sexton, adopted orphans included.
pub fn children() -> io::Result<Vec<Pid>> {
    match children_by_thread(Path::new("/proc/self/task")) {
        Ok(children) => Ok(children),
        // A kernel without CONFIG_PROC_CHILDREN does not have the file.
        Err(_) => {
            let own = Pid::try_from(std::process::id()).unwrap_or(0);
            Ok(processes()?.into_iter().filter(|stat| stat.ppid == own).map(|stat| stat.pid).collect())
        }
    }
}

fn children_by_thread(tasks: &Path) -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for task in fs::read_dir(tasks)? {
        let list = fs::read_to_string(task?.path().join("children"))?;
        children.extend(list.split_ascii_whitespace().filter_map(|pid| pid.parse::<Pid>().ok()));
    }
    Ok(children)
}

/// The memory of sexton in bytes: resident, virtual.
#[must_use]
pub fn own_memory() -> Option<(u64, u64)> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let mut pages = statm.split_ascii_whitespace().map_while(|field| field.parse::<u64>().ok());
    let (virtual_size, resident) = (pages.next()?, pages.next()?);
    let page = crate::sys::page_size();
    Some((resident * page, virtual_size * page))
}

/// The number of descriptors that sexton has open.
#[must_use]
pub fn own_descriptors() -> Option<u64> {
    // Without the descriptor of the directory itself.
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count().checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_names_with_parentheses_spaces_and_newlines() {
        let fields = "S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 9";
        let stat = Stat::parse(&format!("43 (a) b (c\n) {fields}"));
        let stat = stat.map(|stat| (stat.pid, stat.comm, stat.state, stat.ppid, stat.pgrp, stat.start_ticks));
        assert_eq!(stat, Some((43, "a) b (c\n".to_owned(), 'S', 1, 42, 777)));
    }

    #[test]
    fn rejects_truncated_lines() {
        for line in ["", "43", "43 (x", "43 (x) ", "43 (x) S 1 2", "x (x) S 1 42 42"] {
            assert_eq!(Stat::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn lists_the_current_process() -> io::Result<()> {
        let own = Pid::try_from(std::process::id()).unwrap_or(0);
        assert!(processes()?.iter().any(|stat| stat.pid == own && !stat.is_zombie()));
        assert!(!arguments(own)?.is_empty());
        Ok(())
    }
}
