//! The list of the tool process-wrapper: YAML in a file, or JSON in `$CONFIG`; keys without regard to case.

use serde::Deserialize;

use super::words::{HumanDuration, Map, Text, Unsupported};

/// An entry of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Entry {
    pub(in super::super) name: Option<String>,
    pub(in super::super) entrypoint: Option<String>,
    pub(in super::super) args: Option<Vec<Text>>,
    pub(in super::super) envs: Option<Map<Option<Text>>>,
    pub(in super::super) envs_file: Option<String>,
    pub(in super::super) dir: Option<String>,
    pub(in super::super) replicas: Option<u32>,
    pub(in super::super) restart_policy: Option<Policy>,
    pub(in super::super) log_format: Option<Format>,
    pub(in super::super) prom_target: Option<Unsupported>,
    #[serde(rename = "memoryLimitMB")]
    pub(in super::super) memory_limit_mb: Option<u64>,
    pub(in super::super) sys_proc_attr: Option<SysProcAttr>,
    pub(in super::super) post_start: Option<PostStart>,
    pub(in super::super) readiness: Option<Readiness>,
}

/// `restartPolicy`; the old tool ignored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Whatever it ended with.
    Always,
    /// It runs once.
    Never,
}

/// `logFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Untouched.
    Free,
    /// Untouched.
    Plain,
    /// The level is found in the words.
    Auto,
    /// Records.
    Logfmt,
}

/// Go's `syscall.SysProcAttr`, its names in lower case.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SysProcAttr {
    pub(in super::super) chroot: Option<String>,
    pub(in super::super) credential: Option<Credential>,
    pub(in super::super) setsid: Option<bool>,
    pub(in super::super) setpgid: Option<bool>,
    pub(in super::super) pgid: Option<i32>,
    pub(in super::super) pdeathsig: Option<i32>,
    pub(in super::super) foreground: Option<bool>,
    pub(in super::super) ptrace: Option<Unsupported>,
    pub(in super::super) setctty: Option<Unsupported>,
    pub(in super::super) noctty: Option<Unsupported>,
    pub(in super::super) ctty: Option<Unsupported>,
    pub(in super::super) cloneflags: Option<Unsupported>,
    pub(in super::super) unshareflags: Option<Unsupported>,
    pub(in super::super) uidmappings: Option<Unsupported>,
    pub(in super::super) gidmappings: Option<Unsupported>,
    pub(in super::super) gidmappingsenablesetgroups: Option<Unsupported>,
    pub(in super::super) ambientcaps: Option<Unsupported>,
    pub(in super::super) usecgroupfd: Option<Unsupported>,
    pub(in super::super) cgroupfd: Option<Unsupported>,
}

/// An identity.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Credential {
    pub(in super::super) uid: Option<u32>,
    pub(in super::super) gid: Option<u32>,
    pub(in super::super) groups: Option<Vec<u32>>,
    pub(in super::super) nosetgroups: Option<bool>,
}

/// A command with its variables.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Command {
    pub(in super::super) name: Option<String>,
    pub(in super::super) entrypoint: Option<String>,
    pub(in super::super) args: Option<Vec<Text>>,
    pub(in super::super) envs: Option<Map<Option<Text>>>,
}

/// What is done once all probes have passed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PostStart {
    pub(in super::super) command: Option<Command>,
    pub(in super::super) sql: Option<super::native::Sql>,
    pub(in super::super) envs: Option<Map<Option<Text>>>,
    pub(in super::super) deadline: Option<HumanDuration>,
}

/// Readiness and liveness in one; all of the probes have to pass.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Readiness {
    pub(in super::super) period: Option<HumanDuration>,
    pub(in super::super) delay: Option<HumanDuration>,
    pub(in super::super) failure_threshold: Option<u32>,
    pub(in super::super) startup_deadline: Option<HumanDuration>,
    pub(in super::super) http: Option<Http>,
    pub(in super::super) tcp: Option<Tcp>,
    pub(in super::super) file: Option<super::native::FileThere>,
    pub(in super::super) env: Option<super::native::EnvIs>,
    pub(in super::super) exec: Option<Exec>,
    pub(in super::super) sql: Option<super::native::Sql>,
    pub(in super::super) floating_pid: Option<super::native::FloatingPid>,
    pub(in super::super) heart_beat: Option<super::native::HeartBeat>,
    pub(in super::super) amqp: Option<super::native::Amqp>,
    pub(in super::super) lock: Option<super::native::Lock>,
}

impl Readiness {
    /// There is nothing to probe: the process runs while the lock is ours.
    pub(in super::super) fn is_lock_alone(&self) -> bool {
        let probes = [
            self.http.is_some(),
            self.tcp.is_some(),
            self.file.is_some(),
            self.env.is_some(),
            self.exec.is_some(),
            self.sql.is_some(),
            self.floating_pid.is_some(),
            self.heart_beat.is_some(),
            self.amqp.is_some(),
        ];
        self.lock.is_some() && !probes.contains(&true)
    }
}

/// A URL that answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Http {
    pub(in super::super) url: Option<String>,
}

/// A socket that accepts: host:port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tcp {
    pub(in super::super) socket: Option<String>,
}

/// A command that ends with 0.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Exec {
    pub(in super::super) command: Option<Command>,
}
