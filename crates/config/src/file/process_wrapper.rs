//! The list format of process-wrapper: YAML in a file, or JSON in `$CONFIG`; keys are case-insensitive.

use serde::Deserialize;

use crate::file::scalars::{HumanDuration, Map, Text, Unsupported};

/// One process of the list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Entry {
    pub(crate) name: Option<String>,
    pub(crate) entrypoint: Option<String>,
    pub(crate) args: Option<Vec<Text>>,
    pub(crate) envs: Option<Map<Option<Text>>>,
    pub(crate) envs_file: Option<String>,
    pub(crate) dir: Option<String>,
    pub(crate) replicas: Option<u32>,
    pub(crate) restart_policy: Option<Policy>,
    pub(crate) log_format: Option<Format>,
    pub(crate) prom_target: Option<Unsupported>,
    #[serde(rename = "memoryLimitMB")]
    pub(crate) memory_limit_mb: Option<u64>,
    pub(crate) sys_proc_attr: Option<SysProcAttr>,
    pub(crate) post_start: Option<PostStart>,
    pub(crate) readiness: Option<Readiness>,
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
    pub(crate) chroot: Option<String>,
    pub(crate) credential: Option<Credential>,
    pub(crate) setsid: Option<bool>,
    pub(crate) setpgid: Option<bool>,
    pub(crate) pgid: Option<i32>,
    pub(crate) pdeathsig: Option<i32>,
    pub(crate) foreground: Option<bool>,
    pub(crate) ptrace: Option<Unsupported>,
    pub(crate) setctty: Option<Unsupported>,
    pub(crate) noctty: Option<Unsupported>,
    pub(crate) ctty: Option<Unsupported>,
    pub(crate) cloneflags: Option<Unsupported>,
    pub(crate) unshareflags: Option<Unsupported>,
    pub(crate) uidmappings: Option<Unsupported>,
    pub(crate) gidmappings: Option<Unsupported>,
    pub(crate) gidmappingsenablesetgroups: Option<Unsupported>,
    pub(crate) ambientcaps: Option<Unsupported>,
    pub(crate) usecgroupfd: Option<Unsupported>,
    pub(crate) cgroupfd: Option<Unsupported>,
}

/// User and groups.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Credential {
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) groups: Option<Vec<u32>>,
    pub(crate) nosetgroups: Option<bool>,
}

/// A command with its environment variables.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Command {
    pub(crate) name: Option<String>,
    pub(crate) entrypoint: Option<String>,
    pub(crate) args: Option<Vec<Text>>,
    pub(crate) envs: Option<Map<Option<Text>>>,
}

/// The hook that runs once all probes have succeeded.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PostStart {
    pub(crate) command: Option<Command>,
    pub(crate) sql: Option<crate::file::native::Sql>,
    pub(crate) envs: Option<Map<Option<Text>>>,
    pub(crate) deadline: Option<HumanDuration>,
}

/// A combined readiness and liveness probe; all checks must succeed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Readiness {
    pub(crate) period: Option<HumanDuration>,
    pub(crate) delay: Option<HumanDuration>,
    pub(crate) failure_threshold: Option<u32>,
    pub(crate) startup_deadline: Option<HumanDuration>,
    pub(crate) http: Option<Http>,
    pub(crate) tcp: Option<Tcp>,
    pub(crate) file: Option<crate::file::native::FileThere>,
    pub(crate) env: Option<crate::file::native::EnvIs>,
    pub(crate) exec: Option<Exec>,
    pub(crate) sql: Option<crate::file::native::Sql>,
    pub(crate) floating_pid: Option<crate::file::native::FloatingPid>,
    pub(crate) heart_beat: Option<crate::file::native::HeartBeat>,
    pub(crate) amqp: Option<crate::file::native::Amqp>,
    pub(crate) lock: Option<crate::file::native::Lock>,
}

impl Readiness {
    /// Whether only the lock is set, without a check.
    pub(crate) fn is_lock_only(&self) -> bool {
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
    pub(crate) url: Option<String>,
}

/// A TCP check of host:port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tcp {
    pub(crate) socket: Option<String>,
}

/// A command check.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Exec {
    pub(crate) command: Option<Command>,
}
