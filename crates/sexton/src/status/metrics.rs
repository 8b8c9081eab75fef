//! Metrics in the `OpenMetrics` text format.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use engine::JobEventKind;
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::time::{ClockId, clock_gettime};

use crate::logs::buffer::Recent;
use crate::logs::line_writer::Sink;
use crate::status::event_text;
use crate::status::{Status, View};
use linux::procfs;
use linux::resource_usage::ResourceUsage;
use spec::program::Pid;

/// Content type of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProcess {
    process: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfExit {
    process: String,
    code: String,
    signal: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRestart {
    process: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProbe {
    process: String,
    probe: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    process: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStream {
    stream: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfBuild {
    version: &'static str,
}

/// Standard process metrics of sexton itself, read on each request.
#[derive(Debug, Default)]
struct SelfMetrics {
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    virtual_size: Gauge,
    descriptors: Gauge,
}

impl SelfMetrics {
    fn register(&self, r: &mut Registry) {
        let began = Gauge::<f64, AtomicU64>::default();
        began.set(Timestamp::now().as_duration().as_secs_f64());
        r.register_with_unit("process_start_time", "Start time since the Unix epoch", Unit::Seconds, began);
        r.register_with_unit("process_cpu", "CPU time used by sexton", Unit::Seconds, self.cpu.clone());
        r.register_with_unit(
            "process_resident_memory",
            "Resident memory of sexton",
            Unit::Bytes,
            self.resident.clone(),
        );
        r.register_with_unit(
            "process_virtual_memory",
            "Virtual memory of sexton",
            Unit::Bytes,
            self.virtual_size.clone(),
        );
        r.register("process_open_fds", "Open descriptors of sexton", self.descriptors.clone());
    }

    fn read(&self) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "the seconds of one process's life fit")]
        let seconds = cpu.tv_sec as f64 + cpu.tv_nsec as f64 / 1e9;
        self.cpu.inc_by((seconds - self.cpu.get()).max(0.0));
        if let Some((resident, virtual_size)) = procfs::own_memory() {
            self.resident.set(gauge(resident));
            self.virtual_size.set(gauge(virtual_size));
        }
        if let Some(descriptors) = procfs::own_descriptors() {
            self.descriptors.set(gauge(descriptors));
        }
    }
}

/// The metrics of a program.
#[derive(Debug)]
pub struct Metrics {
    starts: Family<OfProcess, Counter>,
    exits: Family<OfExit, Counter>,
    restarts: Family<OfRestart, Counter>,
    kills: Family<OfProcess, Counter>,
    up: Family<OfProcess, Gauge>,
    uptime: Family<OfProcess, Gauge<f64, AtomicU64>>,
    ready: Family<OfProcess, Gauge>,
    cpu: Family<OfProcess, Counter<f64, AtomicU64>>,
    memory: Family<OfProcess, Gauge>,
    probe_failures: Family<OfProbe, Counter>,
    lines_lost: Family<OfStream, Counter>,
    blocked: Family<OfProcess, Counter<f64, AtomicU64>>,
    transitions: Family<OfState, Counter>,
    state: Family<OfState, Gauge>,
    /// Current state of each automaton.
    states: Mutex<BTreeMap<String, String>>,
    /// Connections closed because of the limit.
    pub connections_cut: Counter,
    /// Open connections.
    pub connections: Gauge,
    own: SelfMetrics,
    sinks: Vec<(&'static str, Sink)>,
    registry: Registry,
}

impl Metrics {
    /// Registers all metrics.
    #[must_use]
    pub fn new() -> Self {
        let mut this = Self {
            starts: Family::default(),
            exits: Family::default(),
            restarts: Family::default(),
            kills: Family::default(),
            up: Family::default(),
            uptime: Family::default(),
            ready: Family::default(),
            cpu: Family::default(),
            memory: Family::default(),
            probe_failures: Family::default(),
            lines_lost: Family::default(),
            blocked: Family::default(),
            transitions: Family::default(),
            state: Family::default(),
            states: Mutex::default(),
            connections_cut: Counter::default(),
            connections: Gauge::default(),
            own: SelfMetrics::default(),
            sinks: Vec::new(),
            registry: Registry::default(),
        };
        let build = Family::<OfBuild, Gauge>::default();
        build.get_or_create(&OfBuild { version: env!("CARGO_PKG_VERSION") }).set(1);
        let r = &mut this.registry;
        r.register("sexton_build_info", "Always 1; its label is the version", build);
        r.register("sexton_process_starts", "Processes started", this.starts.clone());
        r.register("sexton_process_exits", "Processes exited, by exit code or signal", this.exits.clone());
        r.register("sexton_process_restarts", "Restarts, by reason", this.restarts.clone());
        r.register("sexton_process_kills", "SIGKILLs sent", this.kills.clone());
        r.register("sexton_process_up", "1 while the process is running", this.up.clone());
        r.register_with_unit(
            "sexton_process_uptime",
            "Age of the process",
            Unit::Seconds,
            this.uptime.clone(),
        );
        r.register("sexton_process_ready", "1 while the process is ready", this.ready.clone());
        r.register_with_unit(
            "sexton_process_cpu",
            "CPU time of the process and its descendants",
            Unit::Seconds,
            this.cpu.clone(),
        );
        r.register_with_unit(
            "sexton_process_memory",
            "Resident memory of the process and its descendants",
            Unit::Bytes,
            this.memory.clone(),
        );
        r.register("sexton_probe_failures", "Failed probes", this.probe_failures.clone());
        r.register(
            "sexton_log_lines_lost",
            "Lines of output dropped or not written",
            this.lines_lost.clone(),
        );
        r.register_with_unit(
            "sexton_process_output_blocked",
            "Time that the process was blocked in its writes because its output was not read",
            Unit::Seconds,
            this.blocked.clone(),
        );
        r.register("sexton_automaton_transitions", "States entered", this.transitions.clone());
        r.register(
            "sexton_automaton_state",
            "1 for the current state, 0 for previous ones",
            this.state.clone(),
        );
        r.register("sexton_http_connections", "Open connections", this.connections.clone());
        r.register(
            "sexton_http_connections_cut",
            "Connections closed because of the limit",
            this.connections_cut.clone(),
        );
        this.own.register(r);
        this
    }

    /// Returns the registry, for additional metrics.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// Counts an event of the engine.
    pub fn count(&self, name: &str, what: &JobEventKind) {
        let process = || OfProcess { process: name.to_owned() };
        match what {
            JobEventKind::Started { .. } => {
                self.starts.get_or_create(&process()).inc();
            }
            JobEventKind::Exited { exit, .. } => {
                let (code, signal) = event_text::exit_labels(*exit);
                self.exits.get_or_create(&OfExit { process: name.to_owned(), code, signal }).inc();
            }
            JobEventKind::Restarting { cause, .. } => {
                let labels = OfRestart { process: name.to_owned(), reason: cause.label() };
                self.restarts.get_or_create(&labels).inc();
            }
            JobEventKind::ProbeFailed { kind, .. } => {
                let labels = OfProbe { process: name.to_owned(), probe: kind.label() };
                self.probe_failures.get_or_create(&labels).inc();
            }
            JobEventKind::Killing { .. } => {
                self.kills.get_or_create(&process()).inc();
            }
            _ => {}
        }
    }

    /// Counts the entry of an automaton into a state.
    pub fn entered(&self, process: &str, state: &str) {
        let labels = |state: &str| OfState { process: process.to_owned(), state: state.to_owned() };
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = states.insert(process.to_owned(), state.to_owned()) {
            self.state.get_or_create(&labels(&before)).set(0);
        }
        self.state.get_or_create(&labels(state)).set(1);
        self.transitions.get_or_create(&labels(state)).inc();
    }

    /// Counts the lines lost by these line writers.
    pub fn watch_sinks(&mut self, sinks: Vec<(&'static str, Sink)>) {
        self.sinks = sinks;
    }

    /// Returns the metrics as text.
    #[must_use]
    pub fn text(&self, view: &View, usage: &BTreeMap<Pid, ResourceUsage>, logs: &Recent) -> String {
        for process in &view.processes {
            let labels = OfProcess { process: process.name.to_string() };
            let up = process.status == Status::Running;
            self.up.get_or_create(&labels).set(i64::from(up));
            let age = process.started_at.filter(|_| up).map(|at| Timestamp::now().duration_since(at));
            if view.mode == "up" {
                let ready = process.own.as_ref().is_some_and(|own| own.job.ready);
                self.ready.get_or_create(&labels).set(i64::from(ready));
                let figures = process.pid.and_then(|pid| usage.get(&pid)).copied().unwrap_or_default();
                let cpu = self.cpu.get_or_create(&labels);
                // Only running descendants are measured: the sum may fall, a counter must not.
                cpu.inc_by((figures.cpu_seconds - cpu.get()).max(0.0));
                self.memory
                    .get_or_create(&labels)
                    .set(i64::try_from(figures.resident_bytes).unwrap_or(i64::MAX));
            }
            self.uptime.get_or_create(&labels).set(age.map_or(0.0, |age| age.as_secs_f64().max(0.0)));
        }
        for (process, (seconds, _)) in logs.blocked() {
            let blocked = self.blocked.get_or_create(&OfProcess { process: process.to_string() });
            blocked.inc_by((seconds.as_secs_f64() - blocked.get()).max(0.0));
        }
        for (stream, sink) in &self.sinks {
            let lost = self.lines_lost.get_or_create(&OfStream { stream });
            lost.inc_by(sink.lost().saturating_sub(lost.get()));
        }
        self.own.read();
        let mut buffer = String::new();
        // Cannot fail: writes to a string.
        let _ = text::encode(&mut buffer, &self.registry);
        buffer
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
