//! `run` and `supervise`: one process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::Arc;

use engine::JobId;
use engine::pod::Seed;

use super::{App, BoundServer, READ_SIGNALS, ServerSettings, StartupError, begin_journal, cannot};
use crate::journal::Journal;
use crate::logs::capture::Outputs;
use crate::status::ProcessInfo;
use crate::status::hub::Hub;
use crate::supervisor::{self, SupervisedProcess, SupervisorDeps};
use crate::tombstones::Graveyard;
use config::SingleProcessSettings;
use linux::clock::Clock;
use linux::notify::Notify;
use linux::signals::SignalStream;
use linux::terminal::Terminal;
use spec::logs::LogFormat;
use spec::logs::LogPlan;

pub(super) struct SingleApp {
    settings: SingleProcessSettings,
    server: BoundServer,
    seed: Seed,
    journal: Option<Journal>,
}

impl SingleApp {
    pub(super) fn open(
        settings: SingleProcessSettings,
        server: &ServerSettings,
        journal: Option<&Path>,
    ) -> Result<Self, StartupError> {
        let server = server.bind()?;
        let (seed, journal) = begin_journal(&settings.plan, journal)?;
        Ok(Self { settings, server, seed, journal })
    }
}

impl App for SingleApp {
    async fn run(self, signals: SignalStream) -> Result<i32, StartupError> {
        let Self { settings: own, server, seed, journal } = self;
        let clock = Clock::begin();
        let text = |word: &OsString| word.to_string_lossy().into_owned();
        let info = ProcessInfo {
            name: own.name.as_str().into(),
            command: text(&own.program.command),
            arguments: own.program.arguments.iter().map(text).collect(),
            ttl: own.ttl.filter(|span| span.from == span.to).map(|span| span.to).unwrap_or_default(),
            wait: own.wait,
            side_port: server.listeners.side_port,
        };
        let mut hub = Hub::new(supervisor::first_view(own.word, &[&info], &seed, false, clock));
        let mut outputs = Outputs::new(Arc::clone(&hub.logs));
        let logs = LogPlan { format: log_format(), on_full: own.on_full, labels: BTreeMap::new() };
        outputs
            .plan(JobId(0), &own.name, own.output, logs, true)
            .map_err(cannot("start a thread for the output"))?;
        hub.metrics.watch_sinks(outputs.sinks());
        let hub = Arc::new(hub);
        let targets = supervisor::tombstone_targets(&own.plan, &[], &[]);
        let graveyard = own.pod.map(|pod| Graveyard::begin(pod, targets, clock)).transpose()?;
        let server = server.start(&hub, clock)?;
        let code = supervisor::run(SupervisorDeps {
            mode: own.word,
            seed,
            clock,
            signals,
            processes: vec![SupervisedProcess { info, program: own.program, plan: None, lock: own.lock }],
            outputs,
            terminal: Terminal::on_stdin(),
            journal,
            notify: Notify::from_environment(),
            hub,
            commands: None,
            up: None,
            graveyard,
        });
        let code = code.await.map_err(cannot(READ_SIGNALS))?;
        server.finish().await;
        Ok(code)
    }
}

/// The format of the records of one process.
fn log_format() -> LogFormat {
    if io::stdout().is_terminal() { LogFormat::Pretty } else { LogFormat::Logfmt }
}
