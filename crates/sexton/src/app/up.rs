//! `up`: many processes, described by a file.

use std::path::Path;
use std::sync::Arc;

use engine::JobId;
use engine::pod::Seed;
use tokio::sync::mpsc;

use super::server::ServerThread;
use super::{App, BoundServer, READ_SIGNALS, ServerSettings, StartupError, begin_journal, cannot};
use crate::control;
use crate::journal::Journal;
use crate::logs::capture::Outputs;
use crate::status::api::control_router;
use crate::status::hub::Hub;
use crate::status::termination;
use crate::supervisor::{self, SupervisedProcess, SupervisorDeps, UpState};
use crate::tombstones::Graveyard;
use config::compile;
use config::compile::UpPlan;
use config::{ControlPath, Up};
use linux::clock::Clock;
use linux::descriptors;
use linux::notify::Notify;
use linux::signals::SignalStream;
use net::listen::{self, Bound, ControlSocket};
use spec::environment::Real;

pub(super) struct UpApp {
    settings: Up,
    plan: UpPlan,
    server: BoundServer,
    control: Option<ControlSocket>,
    seed: Seed,
    journal: Option<Journal>,
}

impl UpApp {
    /// An invalid file binds nothing.
    pub(super) fn open(
        settings: Up,
        server: &ServerSettings,
        journal: Option<&Path>,
    ) -> Result<Self, StartupError> {
        let plan = compile::load(&settings.source, &settings.overrides, &Real)?;
        descriptors::raise();
        let server = server.bind()?;
        let control = control_socket(settings.control.as_ref())?;
        let (seed, journal) = begin_journal(&plan.plan, journal)?;
        Ok(Self { settings, plan, server, control, seed, journal })
    }
}

/// Binds the control socket. Only one that was requested is mandatory.
fn control_socket(path: Option<&ControlPath>) -> Result<Option<ControlSocket>, StartupError> {
    let Some(ControlPath { path, asked_for }) = path else { return Ok(None) };
    match listen::control(path) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if *asked_for => Err(error.into()),
        Err(error) => {
            log::warn!("{error}; running without a control socket (use --control PATH)");
            Ok(None)
        }
    }
}

impl App for UpApp {
    async fn run(self, signals: SignalStream) -> Result<i32, StartupError> {
        let Self { settings, plan, server, control, seed, journal } = self;
        for warning in &plan.warnings {
            log::warn!("{}:{warning}", settings.source);
        }
        let clock = Clock::begin();
        let processes: Vec<_> = plan.processes.iter().map(SupervisedProcess::from).collect();
        let infos: Vec<_> = processes.iter().map(|process| &process.info).collect();
        let mut hub = Hub::new(supervisor::first_view("up", &infos, &seed, true, clock));
        let mut outputs = Outputs::new(Arc::clone(&hub.logs));
        for (id, process) in (0..).map(JobId).zip(&plan.processes) {
            let output = supervisor::output_plan(process);
            outputs
                .plan(id, &process.name, output, process.logs.clone(), false)
                .map_err(cannot("start a thread for the output"))?;
        }
        outputs.align();
        hub.metrics.watch_sinks(outputs.sinks());
        let (controls, commands) = mpsc::channel(control::QUEUE);
        hub.controls = Some(controls);
        let hub = Arc::new(hub);
        let ids: Vec<JobId> = (0..plan.processes.len()).map(JobId).collect();
        let targets = supervisor::tombstone_targets(&plan.plan, &ids, &plan.processes);
        let graveyard = plan.pod.clone().map(|pod| Graveyard::begin(pod, targets, clock)).transpose()?;
        let routes = server.routes(&hub, clock);
        let mut servers = vec![(server.listeners.bound, routes)];
        let guard = control.map(|ControlSocket { listener, guard }| {
            let routes = control_router(Arc::clone(&hub), server.answers, clock);
            servers.push((vec![Bound::Control(listener)], routes));
            guard
        });
        let server = ServerThread::start(servers, &hub)?;
        let code = supervisor::run(SupervisorDeps {
            mode: "up",
            seed,
            clock,
            signals,
            processes,
            outputs,
            terminal: None,
            journal,
            notify: Notify::from_environment(),
            hub,
            commands: Some(commands),
            up: Some(UpState {
                source: settings.source,
                overrides: settings.overrides,
                plan,
                ids,
                termination_log: termination::FILE.into(),
            }),
            graveyard,
        });
        let code = code.await.map_err(cannot(READ_SIGNALS))?;
        drop(guard);
        if let Some(server) = server {
            server.finish();
        }
        Ok(code)
    }
}
