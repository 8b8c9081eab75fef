//! The options of `ensemble`, and of the section `ensemble` of a file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::identity::IdentityOptions;
use super::locks::StoreOptions;
use super::{CommonOptions, ListenOptions, LogOptions, Personality, Resolver, UsageError};
use crate::accounts;
use crate::file::scalars::{HumanDuration, OneOrMany};
use crate::{Mode, Settings};
use spec::ensemble::{
    Access, DEFAULT_CALLBACK_DEADLINE, DEFAULT_DAMPER, DEFAULT_FAIL_OVER, DEFAULT_PORT, DEFAULT_STATSD,
    DEFAULT_TTL, MasterPlan, Payload, UnresolvedPlan,
};
use spec::environment::Environment;
use spec::listen::Listen;
use spec::program::PLAN_VARIABLE;
use spec::tls::TlsFiles;

/// A pod of an ensemble. Each key is the option of `sexton ensemble` of the same name.
#[derive(Debug, Clone, Default, Args, JsonSchema)]
#[schemars(rename = "Ensemble", rename_all = "camelCase", deny_unknown_fields)]
pub struct EnsembleOptions {
    /// Role of this pod: it reports to masters, keeps the member list, or both
    #[arg(long, value_name = "ROLE", required = true)]
    pub role: Option<EnsembleRole>,
    /// Name of the ensemble [default: the pod's label app]
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    #[command(flatten)]
    #[schemars(flatten)]
    pub identity: IdentityOptions,
    /// Role of this pod as callbacks see it [default: the pod's label role, or member]
    #[arg(long, value_name = "NAME")]
    pub label_role: Option<String>,
    /// Masters to which a member reports: HOST or HOST:PORT, with https://, zerorpc:// or zerorpcs:// for another
    /// protocol; separated by commas
    #[arg(long, value_name = "MASTERS")]
    #[schemars(with = "Option<OneOrMany<String>>")]
    pub masters: Option<String>,
    /// Report the digest and the size of this ensemble to the masters of another one, of this name
    #[arg(long, value_name = "NAME")]
    pub report_app: Option<String>,
    /// JSON file that a member reports; changes are reported immediately. In a file for `up`: 'status' reports the state
    /// of its processes
    #[arg(long, value_name = "FILE")]
    pub payload: Option<String>,
    /// Report the state of the processes of the `up` with this control socket
    #[arg(long, value_name = "SOCKET", conflicts_with = "payload")]
    #[schemars(skip)]
    pub payload_of: Option<String>,
    /// Remove a member that sends no keepalive for this long; keepalives are sent every 3/4 of it [default: 25s]
    #[arg(long, value_name = "DURATION")]
    #[schemars(with = "Option<HumanDuration>")]
    pub member_ttl: Option<String>,
    /// Time after which a dead leader is replaced [default: 60s]
    #[arg(long, value_name = "DURATION")]
    #[schemars(with = "Option<HumanDuration>")]
    pub fail_over: Option<String>,
    /// Delay between the last membership change and the callback [default: 10s]
    #[arg(long, value_name = "DURATION")]
    #[schemars(with = "Option<HumanDuration>")]
    pub damper: Option<String>,
    /// Command that the leader runs after a membership change, split at blanks
    #[arg(long, value_name = "COMMAND", conflicts_with = "shell_callback")]
    pub callback: Option<String>,
    /// Shell script that the leader runs after a membership change (sh -c)
    #[arg(long, value_name = "SCRIPT")]
    pub shell_callback: Option<String>,
    /// Campaign for leadership also without a callback, for processes that know this key
    #[arg(long, hide = true)]
    #[schemars(skip)]
    pub leads: Option<String>,
    /// Time limit of a callback, after which it is killed [default: 5m]
    #[arg(long, value_name = "DURATION")]
    #[schemars(with = "Option<HumanDuration>")]
    pub callback_deadline: Option<String>,
    /// File with the token required to run commands remotely; without it and --tls-ca, remote commands are disabled
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<String>,
    /// Allow remote command execution without authentication (dangerous)
    #[arg(long)]
    #[schemars(with = "Option<bool>")]
    pub allow_unauthenticated_invoke: bool,
    /// Run remote commands as this user: USER or USER:GROUP, by name or number [default: user of sexton]
    #[arg(long, value_name = "USER")]
    pub invoke_user: Option<String>,
    /// Require the token or a client certificate for keepalives too, and present it with those sent
    #[arg(long)]
    #[schemars(with = "Option<bool>")]
    pub authenticated_keepalives: bool,
    /// Certificate (PEM); with it, the port accepts TLS only
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// Key of the certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// CA bundle (PEM) for the certificates of masters and clients; a client with such a certificate may run commands
    /// [default: system CAs, no client certificates]
    #[arg(long, value_name = "FILE")]
    pub tls_ca: Option<String>,
    /// Address of the statsd server for counters, or 'none' [default: 127.0.0.1:8125]
    #[arg(long, value_name = "ADDRESS")]
    pub statsd: Option<String>,
    #[command(flatten)]
    #[schemars(flatten)]
    pub listen: ListenOptions,
    #[command(flatten)]
    #[schemars(skip)]
    pub logging: LogOptions,
    #[command(flatten)]
    #[schemars(flatten)]
    pub store: StoreOptions,
    /// kontrol: the store is the etcd of the node.
    #[arg(skip)]
    #[schemars(skip)]
    pub etcd_of_node: bool,
    /// kontrol: the pod must have a label `role`.
    #[arg(skip)]
    #[schemars(skip)]
    pub needs_role: bool,
}

/// Role of a pod in its ensemble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum EnsembleRole {
    /// Reports to masters
    Member,
    /// Keeps the member list
    Master,
    /// Member and master
    Both,
}

/// A resolved section `ensemble`, as `up` passes it to the process that runs it: as JSON in an environment variable,
/// which only the same user can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolvedEnsemble {
    pub listen: Listen,
    pub plan: UnresolvedPlan,
}

impl ResolvedEnsemble {
    /// Resolves the options of a section. Only the section decides on the address, not `SEXTON_PORT` and the like, which
    /// are for the server of `up`.
    pub fn new(mut options: EnsembleOptions, environment: &dyn Environment) -> Result<Self, UsageError> {
        let mut listen = std::mem::take(&mut options.listen);
        listen.port.get_or_insert_with(|| DEFAULT_PORT.to_string());
        listen.interface.get_or_insert_with(|| "0.0.0.0".to_owned());
        let socket_activation = Some("false".to_owned());
        let common = CommonOptions { listen, socket_activation, ..CommonOptions::default() };
        let resolver = Resolver { personality: Personality::Sexton, environment, terminal: false };
        Ok(Self { listen: resolver.listen(&common, DEFAULT_PORT)?, plan: resolver.ensemble(options)? })
    }

    /// The settings of the process that runs the plan in `SEXTON_ENSEMBLE_PLAN`.
    pub fn from_environment(environment: &dyn Environment) -> Result<Settings, UsageError> {
        let text = environment.get(PLAN_VARIABLE).unwrap_or_default();
        let Self { listen, plan } = serde_json::from_slice(text.as_encoded_bytes()).map_err(|error| {
            UsageError(format!("{PLAN_VARIABLE}: expected the plan of an ensemble: {error}"))
        })?;
        let resolver = Resolver { personality: Personality::Sexton, environment, terminal: false };
        let answers = resolver.http_compat(None)?;
        Ok(Settings { listen, answers, mode: Mode::Ensemble(Box::new(plan)), journal: None })
    }
}

impl Resolver<'_> {
    pub(super) fn ensemble(&self, raw: EnsembleOptions) -> Result<UnresolvedPlan, UsageError> {
        let role = raw.role.ok_or("--role is missing: expected member, master or both").map_err(usage)?;
        let (is_member, is_master) = (role != EnsembleRole::Master, role != EnsembleRole::Member);
        let span = |given, option: &str, variable: &str, default: Duration| {
            Ok::<_, UsageError>(self.duration(given, option, variable)?.unwrap_or(default))
        };
        let ttl = span(raw.member_ttl, "--member-ttl", "ENSEMBLE_MEMBER_TTL", DEFAULT_TTL)?;
        let fail_over = span(raw.fail_over, "--fail-over", "ENSEMBLE_FAIL_OVER", DEFAULT_FAIL_OVER)?;
        for (option, time) in [("--member-ttl", ttl), ("--fail-over", fail_over)] {
            spec::lock::check_ttl(time).map_err(|why| UsageError(format!("{option}: {why}")))?;
        }
        let callback = match (raw.callback, raw.shell_callback) {
            (Some(_), Some(_)) => {
                return Err(usage("--callback and --shell-callback are mutually exclusive"));
            }
            (Some(line), None) => Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()),
            (None, Some(script)) => Some(vec!["sh".to_owned(), "-c".to_owned(), script]),
            (None, None) => None,
        };
        // In the environment it may be set for all pods.
        if !is_member && raw.masters.is_some() && raw.report_app.is_none() {
            return Err(usage(
                "--masters is for members: a master reports to other masters only with --role both or --report-app",
            ));
        }
        if callback.as_ref().is_some_and(Vec::is_empty) {
            return Err(usage("--callback is empty: expected a command"));
        }
        if callback.is_some() && !is_master {
            return Err(usage("a callback requires the role master or both"));
        }
        let statsd =
            match self.text(raw.statsd, "--statsd", "ENSEMBLE_STATSD")?.as_deref() {
                Some("none") => None,
                given => {
                    let text = given.unwrap_or(DEFAULT_STATSD);
                    let address = text.parse::<SocketAddr>();
                    Some(address.map_err(|_| {
                        UsageError(format!("--statsd '{text}': expected address:port, or none"))
                    })?)
                }
            };
        let master = if is_master {
            Some(MasterPlan {
                store: self.store(raw.store, "ensemble.store")?,
                ttl,
                fail_over,
                damper: span(raw.damper, "--damper", "ENSEMBLE_DAMPER", DEFAULT_DAMPER)?,
                callback,
                leads: raw.leads,
                callback_deadline: span(
                    raw.callback_deadline,
                    "--callback-deadline",
                    "ENSEMBLE_CALLBACK_DEADLINE",
                    DEFAULT_CALLBACK_DEADLINE,
                )?,
            })
        } else {
            None
        };
        let file = |given, option: &str, variable: &str| {
            Ok::<_, UsageError>(self.text(given, option, variable)?.map(PathBuf::from))
        };
        let tls = tls_files(
            file(raw.tls_cert, "--tls-cert", "ENSEMBLE_TLS_CERT")?,
            file(raw.tls_key, "--tls-key", "ENSEMBLE_TLS_KEY")?,
            file(raw.tls_ca, "--tls-ca", "ENSEMBLE_TLS_CA")?,
        )?;
        let token = file(raw.token_file, "--token-file", "ENSEMBLE_TOKEN_FILE")?;
        if raw.authenticated_keepalives && token.is_none() && (tls.ca.is_none() || tls.own.is_none()) {
            return Err(usage(
                "--authenticated-keepalives requires credentials: --token-file, or --tls-cert, --tls-key and --tls-ca",
            ));
        }
        let invoke_user = self.text(raw.invoke_user, "--invoke-user", "ENSEMBLE_INVOKE_USER")?;
        let invoke_user = invoke_user.map(|name| {
            accounts::user_and_group(&name).map_err(|why| UsageError(format!("--invoke-user: {why}")))
        });
        let payload = match (raw.payload, raw.payload_of) {
            (Some(file), _) => Payload::File(file.into()),
            (None, Some(socket)) => Payload::Processes(socket.into()),
            (None, None) => Payload::Nothing,
        };
        let (sources, namespace) = self.sources(raw.identity)?;
        let plan = UnresolvedPlan {
            sources,
            namespace,
            needs_role: raw.needs_role,
            app: self.text(raw.app, "--app", "ENSEMBLE_APP")?,
            is_member,
            label_role: raw.label_role,
            masters: self.text(raw.masters, "--masters", "ENSEMBLE_MASTERS")?,
            payload,
            chain: self.text(raw.report_app, "--report-app", "ENSEMBLE_REPORT_APP")?,
            every: ttl * 3 / 4,
            master,
            etcd_of_node: raw.etcd_of_node,
            access: Access {
                token,
                unauthenticated_invoke: raw.allow_unauthenticated_invoke,
                invoke_user: invoke_user.transpose()?,
                authenticated_keepalives: raw.authenticated_keepalives,
                tls,
            },
            statsd,
        };
        if !plan.sources.any() {
            // Nothing can be added at run time: report what is missing now.
            plan.complete(&plan.sources.given, &spec::ensemble::UnknownHost).map_err(UsageError)?;
        }
        Ok(plan)
    }
}

fn usage(why: &str) -> UsageError {
    UsageError(why.to_owned())
}

/// The files of TLS. A certificate and its key must be given together.
pub fn tls_files(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
) -> Result<TlsFiles, UsageError> {
    if certificate.is_some() != key.is_some() {
        return Err(usage("--tls-cert and --tls-key must be given together"));
    }
    Ok(TlsFiles { own: certificate.zip(key), ca })
}
