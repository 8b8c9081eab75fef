//! The list format of process-wrapper: YAML in a file, or JSON in `$CONFIG`; keys are case-insensitive.

use serde::Deserialize;

use super::words::{HumanDuration, Map, Text, Unsupported};

/// One process of the list.
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

/// `restartPolicy`; process-wrapper ignored it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    Always,
    Never,
}

/// `logFormat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Unchanged output.
    Free,
    /// Unchanged output.
    Plain,
    /// logfmt, with the level detected in the text.
    Auto,
    Logfmt,
}

/// Go's `syscall.SysProcAttr`, with names in lower case.
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

/// User and groups.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Credential {
    pub(in super::super) uid: Option<u32>,
    pub(in super::super) gid: Option<u32>,
    pub(in super::super) groups: Option<Vec<u32>>,
    pub(in super::super) nosetgroups: Option<bool>,
}

/// A command with its environment variables.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Command {
    pub(in super::super) name: Option<String>,
    pub(in super::super) entrypoint: Option<String>,
    pub(in super::super) args: Option<Vec<Text>>,
    pub(in super::super) envs: Option<Map<Option<Text>>>,
}

/// The hook that runs once all probes have succeeded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PostStart {
    pub(in super::super) command: Option<Command>,
    pub(in super::super) sql: Option<super::native::Sql>,
    pub(in super::super) envs: Option<Map<Option<Text>>>,
    pub(in super::super) deadline: Option<HumanDuration>,
}

/// A combined readiness and liveness probe; all checks must succeed.
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
    /// Whether only the lock is set, without a check.
    pub(in super::super) fn is_lock_only(&self) -> bool {
        let checks = [
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
        self.lock.is_some() && !checks.contains(&true)
    }
}

/// An HTTP check.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Http {
    pub(in super::super) url: Option<String>,
}

/// A TCP check of host:port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tcp {
    pub(in super::super) socket: Option<String>,
}

/// A command check.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Exec {
    pub(in super::super) command: Option<Command>,
}
