//! `sexton.yaml`: our own form.
//!
//! The comments of the fields are their descriptions in the JSON Schema and in the reference.

use schemars::JsonSchema;
use serde::Deserialize;
use spec::logs::LogFormat;

use super::automaton::Section;
use super::words::{
    Bytes, DependsOn, HumanDuration, Map, OneOrMany, Port, Text, TextList, Unsupported, Variables,
};
use crate::config::options::EnsembleOptions;

/// Many processes of one container, started in order, looked after, and stopped in the reverse order.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct File {
    /// The processes by name. Their order is that of the answers; what starts first is said by dependsOn.
    pub processes: ProcessMap,
    /// How long everything may take to end, in seconds, shared out over those who end one after the other [default: 30]
    pub termination_grace_period_seconds: Option<HumanDuration>,
    /// For all that do not say otherwise [default: Always]
    pub restart_policy: Option<RestartPolicy>,
    /// The process whose exit code becomes ours, and whose end for good ends everything. Without: the code of
    /// the first that failed for good, else 0.
    pub exit_from: Option<String>,
    /// Variables of all processes
    pub env: Option<Variables>,
    /// Files with variables of all processes: NAME=value, one a line
    pub env_file: Option<OneOrMany<String>>,
    /// How the output of all that do not say otherwise is passed on
    pub logs: Option<Logs>,
    /// How long to pause before restarts, for all that do not say otherwise
    pub backoff: Option<Backoff>,
    /// How often a process may be restarted, for all that do not say otherwise
    pub restart_limit: Option<RestartLimit>,
    /// This file is there while all processes are healthy and nothing is ending
    pub readiness_file: Option<String>,
    /// The readiness file stays when health is lost; it still goes when everything ends
    pub readiness_file_sticky: Option<bool>,
    /// The other containers of the pod: what we tell them and what we wait for, by files in a directory
    pub graveyard: Option<Graveyard>,
    /// Exit codes that stand for others; caused is any end that was wanted: 143=0,caused=0
    pub exit_codes: Option<String>,
    /// Nothing starts before these servers are ready (GET answers 200 to 399): URLs, or istio, envoy, linkerd,
    /// cloud-sql-proxy
    pub wait_for: Option<OneOrMany<String>>,
    /// These are told to end when we have ended (POST): URLs, or istio, envoy, linkerd, cloud-sql-proxy; ! behind one
    /// makes it an error if that does not work
    pub quit: Option<OneOrMany<String>>,
    /// When they are told [default: always]
    pub quit_when: Option<QuitWhen>,
    /// A pod of an ensemble beside the processes, which is shown as the process 'ensemble': the options of `sexton
    /// ensemble`
    pub ensemble: Option<EnsembleOptions>,
    /// A state machine of shell scripts beside the processes: its file, or what would stand there. It is shown as the
    /// process 'automaton'
    pub automaton: Option<Section>,
    #[schemars(skip)]
    #[doc(hidden)]
    pub metrics: Option<Unsupported>,
}

/// The other containers of the pod.
///
/// A dependency is NAME or NAME:CONDITION (started, ready, exited, succeeded, failed), where NAME is a tombstone in
/// the graveyard or the whole path of one elsewhere; a|b is any of them, a+b both; @TIMEOUT may follow, and ? (go on
/// then).
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Graveyard {
    /// We carve a tombstone of this name: born with the first process, ready while all are healthy, dead when all
    /// have ended
    pub name: Option<String>,
    /// The directory that the containers share [default: /graveyard]
    pub directory: Option<String>,
    /// The mode of that directory, if we make it, in octal [default: "1777"]
    pub mode: Option<Text>,
    /// Also look at it this often, where changes are not told (network volumes) [default: 1s there, else never]
    pub poll: Option<HumanDuration>,
    /// Nothing starts before all of these hold; ready is meant where no condition is given
    pub birth_deps: Option<OneOrMany<String>>,
    /// How long each of them is waited for before what waits has failed with exit code 1; 0 is for ever [default: 30s]
    pub birth_timeout: Option<HumanDuration>,
    /// Everything ends when any of these holds; exited is meant where no condition is given
    pub death_deps: Option<OneOrMany<String>>,
    /// A death by which we have ended before counts again after this time, if whoever died has not come back
    /// [default: 10m]
    pub rebirth_timeout: Option<HumanDuration>,
    /// Ask the Kubernetes API about the containers of this pod: $(NAME) stands for a variable that we were started with
    pub pod_name: Option<String>,
    /// The pod's namespace [default: that of the service account]
    pub namespace: Option<String>,
}

/// When others are told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QuitWhen {
    /// Whenever we end
    Always,
    /// When our exit code is 0
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
    /// Its name, where the processes are a list
    pub name: Option<String>,
    /// What to execute; `$(NAME)` stands for a variable of `env`
    pub command: Option<TextList>,
    /// Arguments behind those of `command`
    pub args: Option<TextList>,
    /// Variables; they count before those of the whole file, which count before those we were started with
    pub env: Option<Variables>,
    /// Files with variables; `env` counts before them
    pub env_file: Option<OneOrMany<String>>,
    /// Files with variables, with a prefix for their names
    pub env_from: Option<Vec<EnvFrom>>,
    /// Where it is started
    pub working_dir: Option<String>,
    /// What must hold before it is started, of a process here, or of pod/NAME: a tombstone in the graveyard
    pub depends_on: Option<DependsOn>,
    /// More that must hold of other containers, as in graveyard.birthDeps
    pub birth_deps: Option<OneOrMany<String>>,
    /// It ends for good when any of these holds of other containers, as in graveyard.deathDeps
    pub death_deps: Option<OneOrMany<String>>,
    /// It carves a tombstone of this name
    pub tombstone: Option<String>,
    /// It serves the others: it is started before them, ends after them, and does not keep us from ending
    pub sidecar: Option<bool>,
    /// So many of it, named name_0, name_1, … [default: one, without a number]
    pub replicas: Option<u32>,
    /// Whether it is started again when it has ended
    pub restart_policy: Option<RestartPolicy>,
    /// Exit codes that restart it, whatever the policy says
    pub restart_policy_rules: Option<Vec<RestartPolicyRule>>,
    /// How long to pause before a restart
    pub backoff: Option<Backoff>,
    /// How often it may be restarted
    pub restart_limit: Option<RestartLimit>,
    /// Has it started? Until it passes the other probes rest; when it fails the process is started anew
    pub startup_probe: Option<Probe>,
    /// Is it worth keeping? When it fails the process is started anew
    pub liveness_probe: Option<Probe>,
    /// May it be given work?
    pub readiness_probe: Option<Probe>,
    /// It runs only while this lock is ours: it waits for it before each start, and ends before another can have it
    pub lock: Option<Lock>,
    /// Hooks and the stop signal
    pub lifecycle: Option<Lifecycle>,
    /// From the stop signal, or the beginning of preStop, to KILL [default: that of the whole]
    pub termination_grace_period_seconds: Option<HumanDuration>,
    /// It ends itself after so long, or is ended; of a range such as 1h..2h a part is drawn at each start
    pub ttl: Option<String>,
    /// It says itself when it has started: `systemd` (READY=1 to $NOTIFY_SOCKET), or `fd:N` (a line on descriptor N)
    pub notify: Option<String>,
    /// With notify systemd: it has to say WATCHDOG=1 this often
    pub watchdog: Option<HumanDuration>,
    /// It has to be ready so long after its start, else it is started anew
    pub start_deadline: Option<HumanDuration>,
    /// How much it may use
    pub resources: Option<Resources>,
    /// Under which identity it runs
    pub security_context: Option<SecurityContext>,
    /// Its ports, so that probes can name them
    pub ports: Option<Vec<ContainerPort>>,
    /// How its output is passed on
    pub logs: Option<Logs>,
    /// The mask of the modes of files that it makes, in octal, such as "022"
    pub umask: Option<Text>,
    /// Limits as of setrlimit(2) by name, such as {nofile: 1024} or {core: "0:unlimited"}
    pub rlimits: Option<Map<Text>>,
    /// Its scheduling priority, -20 to 19
    pub nice: Option<i32>,
    /// How willingly the kernel kills it when memory is short, -1000 to 1000
    pub oom_score_adj: Option<i32>,
    /// Its root directory
    pub chroot: Option<String>,
    /// It leads a session of its own
    pub setsid: Option<bool>,
    /// It runs only while this holds: `leader`, while the pod's `ensemble` leads. It is stopped, and gone, before another
    /// can lead, and is told the number of the leadership in FENCE
    pub when: Option<When>,
    #[schemars(skip)]
    #[doc(hidden)]
    pub metrics: Option<Unsupported>,
    /// It is a state machine of shell scripts instead of a command: its file, or what would stand there
    pub automaton: Option<Section>,
    /// Set by the other two forms, never by a file.
    #[serde(skip)]
    #[schemars(skip)]
    pub more: ForeignSemantics,
}

/// What the other two forms can say and ours cannot.
#[derive(Debug, Clone, Default)]
pub struct ForeignSemantics {
    /// Where it stands in its file.
    pub at: Vec<super::super::tree::Step>,
    /// The readiness probe restarts it when it fails.
    pub readiness_restarts: bool,
    /// The hook is for when it is ready.
    pub post_start_when_ready: bool,
    /// The hook's time limit.
    pub post_start_deadline: Option<std::time::Duration>,
    /// Files count before `env`.
    pub files_first: bool,
    /// A signal when our own thread ends; PR_SET_PDEATHSIG(2const).
    pub parent_death_signal: Option<i32>,
    /// Do not touch the supplementary groups.
    pub keep_groups: bool,
    /// It waits for nobody and starts with the others, although sidecars are there.
    pub ignores_sidecars: bool,
}

/// A file with variables.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EnvFrom {
    /// The file
    pub file: Option<String>,
    /// Goes in front of each name
    pub prefix: Option<String>,
}

/// Whether a process is started again when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// Whatever it ended with
    #[serde(alias = "always")]
    Always,
    /// Unless it ended with 0
    #[serde(alias = "onFailure", alias = "on-failure")]
    OnFailure,
    /// It runs once
    #[serde(alias = "never")]
    Never,
}

/// A rule that counts before the policy; the first that matches counts.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RestartPolicyRule {
    /// Restart
    pub action: Option<RuleAction>,
    /// Which exit codes
    pub exit_codes: Option<ExitCodes>,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum RuleAction {
    /// Start it again
    Restart,
}

/// Which exit codes.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ExitCodes {
    /// One of them, or none of them
    pub operator: Option<ExitCodesOperator>,
    /// The codes, 0 to 255
    pub values: Vec<i32>,
}

/// How the codes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ExitCodesOperator {
    /// One of them
    In,
    /// None of them
    NotIn,
}

/// How long to pause before a restart.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Backoff {
    /// The first pause; it doubles each time, a fifth more or less by chance [default: 1s]
    pub initial: Option<HumanDuration>,
    /// The longest pause [default: 1m]
    pub max: Option<HumanDuration>,
    /// A run of this length was a good one: the next pause is the first again [default: 1m]
    pub reset: Option<HumanDuration>,
    /// The first restart comes without a pause [default: true]
    pub first_at_once: Option<bool>,
}

/// How often a process may be restarted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RestartLimit {
    /// So often
    pub restarts: Option<u32>,
    /// Within this time [default: 10m]
    pub within: Option<HumanDuration>,
    /// What happens when it would have to be restarted more often [default: exit]
    pub then: Option<AtLimit>,
}

/// What happens at the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AtLimit {
    /// Everything ends, with its exit code
    Exit,
    /// It stays down and keeps us from being ready, until somebody starts it
    Hold,
    /// It stays down and does not count any more
    Ignore,
}

/// A probe: when, and one or more ways how; of several all have to pass.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Probe {
    /// From the start of the process to the first probe [default: 0]
    pub initial_delay_seconds: Option<HumanDuration>,
    /// From one probe to the next [default: 10]
    pub period_seconds: Option<HumanDuration>,
    /// An answer that takes longer is a failure [default: 1]
    pub timeout_seconds: Option<HumanDuration>,
    /// So many passes in a row make it pass; 1 for startup and liveness [default: 1]
    pub success_threshold: Option<u32>,
    /// So many failures in a row make it fail [default: 3]
    pub failure_threshold: Option<u32>,
    /// Replaces the process's when this probe is why it is ended; not for readiness
    pub termination_grace_period_seconds: Option<HumanDuration>,
    /// A request that is answered with 200 to 399
    pub http_get: Option<HttpGet>,
    /// A connection that is accepted
    pub tcp_socket: Option<TcpSocket>,
    /// The health service of gRPC says SERVING
    pub grpc: Option<Grpc>,
    /// A command that ends with 0
    pub exec: Option<Exec>,
    /// A file that is there
    pub file: Option<FileThere>,
    /// A variable of the process that has this value
    pub env: Option<EnvIs>,
    /// The process was not restarted too often of late
    pub floating_pid: Option<FloatingPid>,
    /// Somebody said over HTTP (PATCH /heartbeat?name=…) that it is alive
    pub heart_beat: Option<HeartBeat>,
    /// Queries that a database carries out
    pub sql: Option<Sql>,
    /// A connection that a broker such as RabbitMQ opens (AMQP 0-9-1)
    pub amqp: Option<Amqp>,
    /// A PING that Redis answers
    pub redis: Option<Redis>,
}

/// Queries to a database: that of the process's MYSQL_DSN or POSTGRES_DSN.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Sql {
    /// They are carried out one after the other; none: the database is only asked whether it is there
    pub queries: Option<Vec<Text>>,
    /// Values that the first column of what the queries return has to hold
    pub contains: Option<Vec<Text>>,
    /// Which of the two, where the process has both
    pub server: Option<SqlServer>,
}

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SqlServer {
    /// MySQL or MariaDB, by MYSQL_DSN
    Mysql,
    /// PostgreSQL, by POSTGRES_DSN
    Postgres,
}

/// A connection that a broker opens.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Amqp {
    /// amqp://user:password@host:port/vhost, or amqps; $(NAME) stands for a variable of the process
    /// [default: AMQP_PROBE_RABBITMQ_DSN_TEMPLATE with …_USER and …_PASS, or AMQP_URL]
    pub url: Option<String>,
    /// Keep the connection; once it is closed the probe fails at once [default: false]
    pub reuse_conn: Option<bool>,
}

/// A PING that Redis answers.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Redis {
    /// redis://user:password@host:port, rediss or unix:///path; $(NAME) stands for a variable of the process
    /// [default: REDIS_URL]
    pub url: Option<String>,
}

/// A lock that one process has at a time, of all that ask the same lock server. The process is told its number, which
/// rises with every holder, in FENCE.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Lock {
    /// Its name [default: that of the process; replicas want the same]
    pub name: Option<String>,
    /// How long it lasts without a sign of life of ours; from 500ms to 24h [default: 2s]
    pub ttl_duration: Option<HumanDuration>,
    /// Where it is asked for [default: SEXTON_LOCK_URL, or http://localhost:8191]
    pub url: Option<String>,
}

/// While what a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// While our pod leads its ensemble
    Leader,
}

/// A request that is answered with 200 to 399.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HttpGet {
    /// The path, with a query if need be [default: /]
    pub path: Option<String>,
    /// The port
    pub port: Option<Port>,
    /// The host to connect to [default: 127.0.0.1]
    pub host: Option<String>,
    /// HTTP or HTTPS (whose certificate is not checked) [default: HTTP]
    pub scheme: Option<Scheme>,
    /// Headers
    pub http_headers: Option<Vec<HttpHeader>>,
    /// A whole URL instead of the others
    pub url: Option<String>,
}

/// HTTP or HTTPS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Scheme {
    /// Plain
    #[serde(alias = "http")]
    HTTP,
    /// Encrypted; the certificate is not checked
    #[serde(alias = "https")]
    HTTPS,
}

/// A header.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HttpHeader {
    /// Its name; Host sets the host that is asked for
    pub name: Option<String>,
    /// Its value
    pub value: Option<Text>,
}

/// A connection that is accepted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct TcpSocket {
    /// The port
    pub port: Option<Port>,
    /// The host to connect to [default: 127.0.0.1]
    pub host: Option<String>,
}

/// The health service of gRPC says SERVING.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Grpc {
    /// The port
    pub port: Option<Port>,
    /// The service that is asked about [default: the server as a whole]
    pub service: Option<String>,
    /// The host to connect to [default: 127.0.0.1]
    pub host: Option<String>,
}

/// A command.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Exec {
    /// What to execute, without a shell
    pub command: Option<TextList>,
    /// Variables beside those of the process
    #[schemars(skip)]
    #[doc(hidden)]
    pub env: Option<Variables>,
}

/// A file that is there.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FileThere {
    /// The file
    pub path: Option<String>,
}

/// A variable of the process that has this value.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EnvIs {
    /// Its name
    pub name: Option<String>,
    /// Its value
    pub value: Option<Text>,
}

/// The process was not restarted too often of late.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FloatingPid {
    /// How far to look back [default: 10s]
    pub period: Option<HumanDuration>,
    /// So many restarts are allowed [default: 1]
    pub threshold: Option<u32>,
}

/// Somebody said over HTTP that it is alive.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HeartBeat {
    /// Not longer ago than this [default: 10s]
    pub period: Option<HumanDuration>,
}

/// Hooks and the stop signal.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Lifecycle {
    /// Carried out when the process is there; it has started when this is done, and is started anew when it fails
    pub post_start: Option<Handler>,
    /// Carried out before the stop signal, within the grace; its failure is only told
    pub pre_stop: Option<Handler>,
    /// What asks it to end [default: SIGTERM]
    pub stop_signal: Option<String>,
}

/// A hook: one of these.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Handler {
    /// A command that ends with 0
    pub exec: Option<Exec>,
    /// A request; any answer will do
    pub http_get: Option<HttpGet>,
    /// A connection that is accepted
    pub tcp_socket: Option<TcpSocket>,
    /// A pause
    pub sleep: Option<Sleep>,
    /// How long it may take; preStop has the grace instead [default: 1m]
    pub deadline: Option<HumanDuration>,
    /// Queries that a database carries out
    pub sql: Option<Sql>,
}

/// A pause.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Sleep {
    /// How long
    pub seconds: Option<HumanDuration>,
}

/// How much a process may use.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Resources {
    /// No more than this
    pub limits: Option<Limits>,
    /// What a scheduler would set aside; means nothing here
    pub requests: Option<Limits>,
}

/// Amounts.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Limits {
    /// Memory of the process and all that descends from it; more, and it is killed (OOMKilled)
    pub memory: Option<Bytes>,
    /// Processors, such as 0.5 or 500m; needs a delegated cgroup
    pub cpu: Option<Text>,
    /// Means nothing here
    #[serde(rename = "ephemeral-storage")]
    pub ephemeral_storage: Option<Text>,
}

/// Under which identity a process runs.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct SecurityContext {
    /// The user, by number or name
    pub run_as_user: Option<Text>,
    /// The group, by number or name [default: the user's, if it is known]
    pub run_as_group: Option<Text>,
    /// The supplementary groups, by number or name [default: none, when user or group are given]
    pub supplemental_groups: Option<Vec<Text>>,
    /// It is refused if its user would be root
    pub run_as_non_root: Option<bool>,
    /// Whether programs that it executes may give it more privileges (set-user-ID and its like) [default: true]
    pub allow_privilege_escalation: Option<bool>,
}

/// A port with a name.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ContainerPort {
    /// Its name
    pub name: Option<String>,
    /// Its number
    pub container_port: Option<u16>,
    /// TCP; others mean nothing here
    pub protocol: Option<String>,
}

/// How output is passed on.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Logs {
    /// logfmt or json: records; pretty: for people; raw: untouched; none: thrown away; auto: logfmt, its level
    /// found in the words [default: $LOG_FORMAT, else pretty on a terminal and logfmt elsewhere]
    pub format: Option<LogFormat>,
    /// Added to each record
    pub labels: Option<Map<Text>>,
}
