//! The native format, `sexton.yaml`.
//!
//! The comments of the fields are their descriptions in the JSON Schema and in the reference.

use schemars::JsonSchema;
use serde::Deserialize;
use spec::logs::{LogFormat, OnFull};

use crate::file::automaton::Section;
use crate::file::scalars::{
    Bytes, DependsOn, HumanDuration, Map, OneOrMany, Port, Text, TextList, Unsupported, Variables,
};
use crate::options::EnsembleOptions;

/// The processes of one container: started in dependency order, supervised, stopped in reverse order.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct File {
    /// The processes by name, listed in this order in the status. The start order follows from dependsOn.
    pub processes: ProcessMap,
    /// Time for the complete shutdown, in seconds, divided among the shutdown stages [default: 30]
    pub termination_grace_period_seconds: Option<HumanDuration>,
    /// Default restartPolicy of all processes [default: Always]
    pub restart_policy: Option<RestartPolicy>,
    /// The process whose final exit shuts everything down and whose exit code sexton exits with [default: the exit
    /// code of the first process that failed permanently, else 0]
    pub exit_from: Option<String>,
    /// Environment variables of all processes
    pub env: Option<Variables>,
    /// Files with environment variables of all processes, one NAME=value per line
    pub env_file: Option<OneOrMany<String>>,
    /// Default log settings of all processes
    pub logs: Option<Logs>,
    /// Default restart back-off of all processes
    pub backoff: Option<Backoff>,
    /// Default restart limit of all processes
    pub restart_limit: Option<RestartLimit>,
    /// A file that exists while all processes are healthy and no shutdown is in progress
    pub readiness_file: Option<String>,
    /// Keep the readiness file when a process becomes unhealthy; it is still removed at shutdown [default: false]
    pub readiness_file_sticky: Option<bool>,
    /// Coordination with the other containers of the pod through files in a shared directory
    pub graveyard: Option<Graveyard>,
    /// Mapping of exit codes, such as 143=0,caused=0; caused is any exit after a stop request
    pub exit_codes: Option<String>,
    /// Servers that must be ready (GET returns 200 to 399) before any process is started: URLs, or istio, envoy,
    /// linkerd, cloud-sql-proxy
    pub wait_for: Option<OneOrMany<String>>,
    /// Servers to shut down with a POST request after all processes have exited: URLs, or istio, envoy, linkerd,
    /// cloud-sql-proxy; append ! to make a failed request an error
    pub quit: Option<OneOrMany<String>>,
    /// When the quit requests are sent [default: always]
    pub quit_when: Option<QuitWhen>,
    /// Run a pod of an ensemble as the process 'ensemble', with the options of `sexton ensemble`
    pub ensemble: Option<EnsembleOptions>,
    /// Run a state machine of shell scripts as the process 'automaton': the path of its file, or the definition itself
    pub automaton: Option<Section>,
    #[schemars(skip)]
    #[doc(hidden)]
    pub metrics: Option<Unsupported>,
}

/// Coordination with the other containers of the pod.
///
/// A dependency is NAME or NAME:CONDITION (started, ready, exited, succeeded, failed), where NAME is a tombstone in
/// the graveyard or the full path of one elsewhere. a|b is met if either is met, a+b if both are; @TIMEOUT may follow,
/// and ? to continue after the timeout.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Graveyard {
    /// The name of the tombstone that sexton writes: born with the first process, ready while all are healthy, dead
    /// when all have exited
    pub name: Option<String>,
    /// The shared directory [default: /graveyard]
    pub directory: Option<String>,
    /// The mode of the directory if sexton creates it, in octal [default: "1777"]
    pub mode: Option<Text>,
    /// Poll interval for file systems without change notifications (network volumes) [default: 1s on those, else no
    /// polling]
    pub poll: Option<HumanDuration>,
    /// Dependencies that must all be met before any process is started; the default condition is ready
    pub birth_deps: Option<OneOrMany<String>>,
    /// Timeout of each birth dependency; the waiting process then fails with exit code 1; 0 disables the timeout
    /// [default: 30s]
    pub birth_timeout: Option<HumanDuration>,
    /// Shut everything down when any of these is met; the default condition is exited
    pub death_deps: Option<OneOrMany<String>>,
    /// How long to wait for a stopped peer to restart before its earlier exit counts again [default: 10m]
    pub rebirth_timeout: Option<HumanDuration>,
    /// The name of this pod: container status is then also read from the Kubernetes API; $(NAME) is replaced by
    /// sexton's environment variable NAME
    pub pod_name: Option<String>,
    /// The namespace of this pod [default: that of the service account]
    pub namespace: Option<String>,
}

/// When quit requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuitWhen {
    /// At every exit
    Always,
    /// Only if the exit code of sexton is 0
    Success,
}

/// The processes in the order of the file.
#[derive(Debug, Clone, Default)]
pub struct ProcessMap(pub Vec<(String, Process)>);

impl<'de> Deserialize<'de> for ProcessMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct This;
        impl<'de> serde::de::Visitor<'de> for This {
            type Value = ProcessMap;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of names to processes, or a list of processes with a name each")
            }

            fn visit_unit<E>(self) -> Result<ProcessMap, E> {
                Ok(ProcessMap::default())
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<ProcessMap, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    all.push((name, map.next_value()?));
                }
                Ok(ProcessMap(all))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<ProcessMap, A::Error> {
                let mut all = Vec::new();
                while let Some(process) = items.next_element::<Process>()? {
                    all.push((process.name.clone().unwrap_or_default(), process));
                }
                Ok(ProcessMap(all))
            }
        }
        deserializer.deserialize_any(This)
    }
}

impl JsonSchema for ProcessMap {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Processes".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let process = generator.subschema_for::<Process>();
        schemars::json_schema!({
            "description": "Names to processes, or a list of processes with a name each.",
            "anyOf": [
                {"type": "object", "additionalProperties": process},
                {"type": "array", "items": process}
            ]
        })
    }
}

/// One process.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Process {
    /// The name; required where the processes are a list
    pub name: Option<String>,
    /// The command; `$(NAME)` is replaced by a variable of the process
    pub command: Option<TextList>,
    /// Arguments appended to those of `command`
    pub args: Option<TextList>,
    /// Environment variables; they override those of the file's top level, which override those of sexton
    pub env: Option<Variables>,
    /// Files with environment variables; `env` overrides them. A value in quotes may have several lines
    pub env_file: Option<OneOrMany<String>>,
    /// Files with environment variables, with a prefix for their names
    pub env_from: Option<Vec<EnvFrom>>,
    /// The working directory [default: that of sexton]
    pub working_dir: Option<String>,
    /// Start dependencies: processes of this file, or pod/NAME for a tombstone in the graveyard
    pub depends_on: Option<DependsOn>,
    /// Further start dependencies on other containers, as in graveyard.birthDeps
    pub birth_deps: Option<OneOrMany<String>>,
    /// Stop the process permanently when any of these is met, as in graveyard.deathDeps
    pub death_deps: Option<OneOrMany<String>>,
    /// The name of the tombstone that is written for this process
    pub tombstone: Option<String>,
    /// A sidecar is started before the other processes, stopped after them, and does not keep sexton running [default:
    /// false]
    pub sidecar: Option<bool>,
    /// The number of replicas, named name_0, name_1, …, up to 10000 [default: one, without a number]
    pub replicas: Option<u32>,
    /// When the process is restarted after it exits
    pub restart_policy: Option<RestartPolicy>,
    /// Exit codes that cause a restart regardless of restartPolicy
    pub restart_policy_rules: Option<Vec<RestartPolicyRule>>,
    /// Back-off delay before restarts
    pub backoff: Option<Backoff>,
    /// Limit of restarts
    pub restart_limit: Option<RestartLimit>,
    /// Whether start-up is complete. The other probes wait until it succeeds; the process is restarted if it fails
    pub startup_probe: Option<Probe>,
    /// Whether the process is alive. The process is restarted if it fails
    pub liveness_probe: Option<Probe>,
    /// Whether the process can receive traffic
    pub readiness_probe: Option<Probe>,
    /// The distributed lock under which the process runs: acquired before each start; the process is stopped before
    /// another holder can acquire it
    pub lock: Option<Lock>,
    /// Hooks and the stop signal
    pub lifecycle: Option<Lifecycle>,
    /// Time from the start of preStop, or the stop signal, to SIGKILL, in seconds [default: that of the file's top
    /// level]
    pub termination_grace_period_seconds: Option<HumanDuration>,
    /// Receivers of the stop signal and of forwarded signals; main: the main process, and when it has exited the processes
    /// that it left behind; group: the whole process group at once. After the grace period all get SIGKILL
    /// [default: main]
    pub kill_mode: Option<KillMode>,
    /// Maximum run time, after which the process is stopped; from a range such as 1h..2h a random value is chosen at
    /// each start [default: unlimited]
    pub ttl: Option<String>,
    /// How the process reports that it has started: `systemd` (READY=1 to $NOTIFY_SOCKET), or `fd:N` (a line on
    /// descriptor N)
    pub notify: Option<String>,
    /// Watchdog timeout: with notify systemd, the process must send WATCHDOG=1 at least this often
    pub watchdog: Option<HumanDuration>,
    /// Restart the process if it is not ready within this time after its start [default: no deadline]
    pub start_deadline: Option<HumanDuration>,
    /// Resource limits
    pub resources: Option<Resources>,
    /// User, groups and privileges
    pub security_context: Option<SecurityContext>,
    /// Named ports that probes can refer to
    pub ports: Option<Vec<ContainerPort>>,
    /// Log settings
    pub logs: Option<Logs>,
    /// The file mode creation mask, in octal, such as "022"
    pub umask: Option<Text>,
    /// Limits as of setrlimit(2) by name, such as {nofile: 1024} or {core: "0:unlimited"}
    pub rlimits: Option<Map<Text>>,
    /// The nice value, from -20 to 19
    pub nice: Option<i32>,
    /// The OOM killer score adjustment, from -1000 to 1000
    pub oom_score_adj: Option<i32>,
    /// The root directory, as of chroot(2)
    pub chroot: Option<String>,
    /// Start the process in a new session [default: false]
    pub setsid: Option<bool>,
    /// Run the process only while this condition holds: `leader`, while the pod of the `ensemble` section is leader. It
    /// is stopped before another pod can become leader; its FENCE variable holds the fencing token
    pub when: Option<When>,
    #[schemars(skip)]
    #[doc(hidden)]
    pub metrics: Option<Unsupported>,
    /// A state machine of shell scripts instead of a command: the path of its file, or the definition itself
    pub automaton: Option<Section>,
    /// Set by the converters of the other two formats, never read from a file.
    #[serde(skip)]
    #[schemars(skip)]
    pub more: ForeignSemantics,
}

/// Semantics of the other two formats that the native format cannot express.
#[derive(Debug, Clone, Default)]
pub struct ForeignSemantics {
    /// The path in its file.
    pub at: Vec<crate::yaml::tree::Step>,
    /// A failed readiness probe restarts the process.
    pub readiness_restarts: bool,
    /// The postStart hook runs once the process is ready.
    pub post_start_when_ready: bool,
    /// The time limit of the postStart hook.
    pub post_start_deadline: Option<std::time::Duration>,
    /// Files override `env`.
    pub files_first: bool,
    /// The signal sent when the parent thread exits; PR_SET_PDEATHSIG(2const).
    pub parent_death_signal: Option<i32>,
    /// Keep the supplementary groups.
    pub keep_groups: bool,
    /// Does not wait for sidecars.
    pub ignores_sidecars: bool,
}

/// A file with environment variables.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EnvFrom {
    /// The path of the file
    pub file: Option<String>,
    /// A prefix for each variable name
    pub prefix: Option<String>,
    /// The file may be missing [default: false]
    pub optional: Option<bool>,
}

/// When a process is restarted after it exits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// Always
    #[serde(alias = "always")]
    Always,
    /// Unless the exit code is 0
    #[serde(alias = "onFailure", alias = "on-failure")]
    OnFailure,
    /// Never
    #[serde(alias = "never")]
    Never,
}

/// The receivers of the stop signal and of forwarded signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KillMode {
    /// The main process; when it has exited, the processes that it left behind
    #[default]
    Main,
    /// The whole process group at once
    Group,
}

/// A rule that overrides restartPolicy; the first matching rule applies.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RestartPolicyRule {
    /// The action if the exit code matches: Restart
    pub action: Option<RuleAction>,
    /// The exit codes to match
    pub exit_codes: Option<ExitCodes>,
}

/// The action of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum RuleAction {
    /// Restart the process
    Restart,
}

/// A set of exit codes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ExitCodes {
    /// Whether the exit code must be in the values (In) or not (NotIn)
    pub operator: Option<ExitCodesOperator>,
    /// The exit codes, from 0 to 255
    pub values: Vec<i32>,
}

/// The operator of a set of exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ExitCodesOperator {
    /// The exit code is in the values
    In,
    /// The exit code is not in the values
    NotIn,
}

/// Exponential back-off of restarts.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Backoff {
    /// The first delay; it doubles with each restart, with a random variation of 20% [default: 1s]
    pub initial: Option<HumanDuration>,
    /// The maximum delay [default: 1m]
    pub max: Option<HumanDuration>,
    /// The back-off resets after a run of at least this length [default: 1m]
    pub reset: Option<HumanDuration>,
    /// Restart without a delay the first time [default: true]
    pub first_at_once: Option<bool>,
}

/// The limit of restarts.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RestartLimit {
    /// The maximum number of restarts
    pub restarts: Option<u32>,
    /// The time window in which restarts are counted [default: 10m]
    pub within: Option<HumanDuration>,
    /// The action when the limit is reached [default: exit]
    pub then: Option<AtLimit>,
}

/// The action when the restart limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AtLimit {
    /// Shut everything down, with the exit code of the process
    Exit,
    /// The process stays stopped, and sexton not ready, until it is started by request
    Hold,
    /// The process stays stopped and is ignored
    Ignore,
}

/// A probe: its timing and one or more checks, which must all succeed.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Probe {
    /// Seconds from the start of the process to the first probe [default: 0]
    pub initial_delay_seconds: Option<HumanDuration>,
    /// Seconds between probes; more than 0 [default: 10]
    pub period_seconds: Option<HumanDuration>,
    /// Seconds after which a probe times out; more than 0 [default: 1]
    pub timeout_seconds: Option<HumanDuration>,
    /// Consecutive successes after which the probe counts as successful; must be 1 for startup and liveness [default:
    /// 1]
    pub success_threshold: Option<u32>,
    /// Consecutive failures after which the probe counts as failed; at least 1 [default: 3]
    pub failure_threshold: Option<u32>,
    /// Overrides the grace period of the process, in seconds, if this probe causes the stop; not for readiness probes
    pub termination_grace_period_seconds: Option<HumanDuration>,
    /// An HTTP GET request; succeeds with a status from 200 to 399
    pub http_get: Option<HttpGet>,
    /// A TCP connection; succeeds if it is accepted
    pub tcp_socket: Option<TcpSocket>,
    /// A gRPC health check; succeeds if the service reports SERVING
    pub grpc: Option<Grpc>,
    /// A command; succeeds with exit code 0
    pub exec: Option<Exec>,
    /// A file that must exist
    pub file: Option<FileThere>,
    /// A variable of the process that must have a value
    pub env: Option<EnvIs>,
    /// A limit of recent restarts of the process
    pub floating_pid: Option<FloatingPid>,
    /// Heartbeats that must arrive over HTTP (PATCH /heartbeat?name=…)
    pub heart_beat: Option<HeartBeat>,
    /// SQL queries that must succeed
    pub sql: Option<Sql>,
    /// An AMQP 0-9-1 connection to a broker such as RabbitMQ
    pub amqp: Option<Amqp>,
    /// A Redis PING
    pub redis: Option<Redis>,
}

/// SQL queries to the database of the process's MYSQL_DSN or POSTGRES_DSN.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Sql {
    /// The queries, executed in order [default: only a connection check]
    pub queries: Option<Vec<Text>>,
    /// Values that the first column of the results must contain
    pub contains: Option<Vec<Text>>,
    /// The database to use if the process has both variables
    pub server: Option<SqlServer>,
}

/// A database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SqlServer {
    /// MySQL or MariaDB (MYSQL_DSN)
    Mysql,
    /// PostgreSQL (POSTGRES_DSN)
    Postgres,
}

/// An AMQP 0-9-1 connection.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Amqp {
    /// amqp://user:password@host:port/vhost, or amqps; $(NAME) is replaced by a variable of the process
    /// [default: AMQP_PROBE_RABBITMQ_DSN_TEMPLATE with …_USER and …_PASS, or AMQP_URL]
    pub url: Option<String>,
    /// Keep the connection open; the probe fails immediately once it is closed [default: false]
    pub reuse_conn: Option<bool>,
}

/// A PING that Redis answers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Redis {
    /// redis://user:password@host:port, rediss or unix:///path; $(NAME) is replaced by a variable of the process
    /// [default: REDIS_URL]
    pub url: Option<String>,
}

/// A distributed lock: one holder at a time among all clients of a lock server. The process gets the fencing token,
/// which increases with every holder, in the FENCE variable.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Lock {
    /// The name of the lock; shared by all replicas [default: the name of the process]
    pub name: Option<String>,
    /// How long the lease lasts without a renewal, from 500ms to 24h [default: 2s]
    pub ttl_duration: Option<HumanDuration>,
    /// The URL of the lock server [default: SEXTON_LOCK_URL, or http://localhost:8191]
    pub url: Option<String>,
}

/// The condition under which a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// While this pod is the leader of its ensemble
    Leader,
}

/// A request that is answered with 200 to 399.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HttpGet {
    /// The path, with an optional query [default: /]
    pub path: Option<String>,
    /// The port, from 1 to 65535, or its name
    pub port: Option<Port>,
    /// The host to connect to [default: 127.0.0.1]
    pub host: Option<String>,
    /// HTTP or HTTPS (the certificate is not verified) [default: HTTP]
    pub scheme: Option<Scheme>,
    /// Request headers
    pub http_headers: Option<Vec<HttpHeader>>,
    /// A complete URL instead of the other fields
    pub url: Option<String>,
}

/// The scheme of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Scheme {
    /// Unencrypted
    #[serde(alias = "http")]
    HTTP,
    /// TLS; the certificate is not verified
    #[serde(alias = "https")]
    HTTPS,
}

/// A request header.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HttpHeader {
    /// The name; Host overrides the requested host
    pub name: Option<String>,
    /// The value
    pub value: Option<Text>,
}

/// A connection that is accepted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct TcpSocket {
    /// The port, from 1 to 65535, or its name
    pub port: Option<Port>,
    /// The host to connect to [default: 127.0.0.1]
    pub host: Option<String>,
}

/// A gRPC health check; succeeds if the service reports SERVING.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Grpc {
    /// The port, from 1 to 65535, or its name
    pub port: Option<Port>,
    /// The service to check, up to 120 bytes [default: the complete server]
    pub service: Option<String>,
    /// The host to connect to [default: 127.0.0.1]
    pub host: Option<String>,
}

/// A command.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Exec {
    /// The command, executed without a shell
    pub command: Option<TextList>,
    /// Variables in addition to those of the process
    #[schemars(skip)]
    #[doc(hidden)]
    pub env: Option<Variables>,
}

/// A file that is there.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FileThere {
    /// The path of the file
    pub path: Option<String>,
}

/// A variable of the process that has this value.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EnvIs {
    /// The name
    pub name: Option<String>,
    /// The value
    pub value: Option<Text>,
}

/// The process was not restarted too often of late.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FloatingPid {
    /// The time window in which restarts are counted [default: 10s]
    pub period: Option<HumanDuration>,
    /// The number of restarts allowed in the window [default: 1]
    pub threshold: Option<u32>,
}

/// Heartbeats that must arrive over HTTP.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HeartBeat {
    /// The maximum age of the last heartbeat [default: 10s]
    pub period: Option<HumanDuration>,
}

/// Hooks and the stop signal.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Lifecycle {
    /// Runs after the process is created; start-up is complete when it finishes, and the process is restarted if it
    /// fails
    pub post_start: Option<Handler>,
    /// Runs before the stop signal, within the grace period; a failure is only logged
    pub pre_stop: Option<Handler>,
    /// The signal used to stop the process [default: SIGTERM]
    pub stop_signal: Option<String>,
}

/// A hook: exactly one of exec, httpGet, tcpSocket, sleep and sql.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Handler {
    /// A command; succeeds with exit code 0
    pub exec: Option<Exec>,
    /// An HTTP GET request; succeeds with any response
    pub http_get: Option<HttpGet>,
    /// A TCP connection; succeeds if it is accepted
    pub tcp_socket: Option<TcpSocket>,
    /// A pause
    pub sleep: Option<Sleep>,
    /// The time limit; preStop uses the grace period instead [default: 1m]
    pub deadline: Option<HumanDuration>,
    /// SQL queries that must succeed
    pub sql: Option<Sql>,
}

/// A pause.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Sleep {
    /// The duration of the pause, in seconds
    pub seconds: Option<HumanDuration>,
}

/// Compute resources of a process.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Resources {
    /// The maximum amounts
    pub limits: Option<Limits>,
    /// Ignored
    pub requests: Option<Limits>,
}

/// Amounts of resources.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Memory of the process and its descendants; the process is killed if it uses more (OOMKilled)
    pub memory: Option<Bytes>,
    /// CPUs, such as 0.5 or 500m; requires a delegated cgroup
    pub cpu: Option<Text>,
    /// Ignored
    #[serde(rename = "ephemeral-storage")]
    pub ephemeral_storage: Option<Text>,
}

/// User, groups and privileges of a process.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct SecurityContext {
    /// The user, by number or name
    pub run_as_user: Option<Text>,
    /// The group, by number or name [default: the primary group of the user, if known]
    pub run_as_group: Option<Text>,
    /// The supplementary groups, by number or name [default: none if a user or group is set, else unchanged]
    pub supplemental_groups: Option<Vec<Text>>,
    /// Reject the configuration if the process would run as root [default: false]
    pub run_as_non_root: Option<bool>,
    /// Whether the process can gain more privileges than its parent, for example through set-user-ID programs [default:
    /// true]
    pub allow_privilege_escalation: Option<bool>,
}

/// A named port.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ContainerPort {
    /// The name
    pub name: Option<String>,
    /// The port, from 1 to 65535
    pub container_port: Option<u16>,
    /// TCP; other protocols are ignored
    pub protocol: Option<String>,
}

/// Log settings.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Logs {
    /// logfmt or json: records; pretty: human-readable; raw: unchanged; none: discarded; auto: logfmt, with the level
    /// detected in the text [default: $LOG_FORMAT, else pretty on a terminal and logfmt elsewhere]
    pub format: Option<LogFormat>,
    /// What happens to output that is written faster than it is read; block: the process waits in its writes, as with a
    /// plain pipe, and nothing is lost; drop: lines are dropped, and their number is reported [default: $ON_FULL or
    /// --on-full, else block]
    pub on_full: Option<OnFull>,
    /// Labels added to each record
    pub labels: Option<Map<Text>>,
}
