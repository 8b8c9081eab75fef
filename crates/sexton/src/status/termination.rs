//! The termination message of Kubernetes: which process determined the exit code, how and why it exited, and its last
//! lines of output. Kubernetes shows it in the status of the container.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use crate::status::ProcessView;

/// The default `terminationMessagePath` of Kubernetes.
pub const FILE: &str = "/dev/termination-log";
/// The largest message that Kubernetes reads, in bytes.
const LARGEST: usize = 4096;

/// The message for an exit code and the process that determined it.
#[must_use]
pub fn report(code: i32, process: Option<&ProcessView>, lines: &[Vec<u8>]) -> String {
    let mut text = match process {
        None => format!("exited with code {code}\n"),
        Some(process) => {
            let oom = process
                .own
                .as_ref()
                .and_then(|own| own.job.last.as_ref())
                .is_some_and(|last| last.out_of_memory);
            let reason = if oom {
                "OOMKilled"
            } else if code == 0 {
                "Completed"
            } else {
                "Error"
            };
            let at = process.own.as_ref().and_then(|own| own.last_at).map(linux::clock::rfc3339_millis);
            let at = at.map(|at| format!(" at {at}")).unwrap_or_default();
            format!("{}: {}{at} (exit code {code}, {reason})\n", process.name, process.state)
        }
    };
    let mut tail = Vec::new();
    let mut room = LARGEST.saturating_sub(text.len() + 32);
    for line in lines.iter().rev() {
        let line = String::from_utf8_lossy(line);
        if line.len() + 1 > room {
            break;
        }
        room -= line.len() + 1;
        tail.push(line.into_owned());
    }
    if !tail.is_empty() {
        text.push_str("last lines of output:\n");
        for line in tail.iter().rev() {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Writes the message, if the file exists. Only Kubernetes creates it.
pub fn write(path: &Path, text: &str) {
    let opened = OpenOptions::new().write(true).truncate(true).open(path);
    let Ok(mut file) = opened else { return };
    if let Err(error) = file.write_all(&text.as_bytes()[..text.len().min(LARGEST)]) {
        log::warn!(file:% = path.display(); "cannot write the termination message: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_and_contains_the_last_lines() {
        let process = ProcessView {
            name: "web".into(),
            state: "exited with code 3".to_owned(),
            ..ProcessView::default()
        };
        let lines: Vec<Vec<u8>> = (0..1000).map(|n| format!("line {n}").into_bytes()).collect();
        let text = report(3, Some(&process), &lines);
        assert!(text.len() <= LARGEST);
        assert!(
            text.starts_with("web: exited with code 3 (exit code 3, Error)\nlast lines of output:\n"),
            "{text}"
        );
        assert!(text.ends_with("line 998\nline 999\n"));
    }
}
