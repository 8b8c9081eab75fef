//! Precedence, defaults, and rejected values.

use std::collections::BTreeMap;

use engine::{DurationRange, Restart, RestartDelay};

use super::*;
use crate::SingleProcessSettings;
use spec::listen::Listen;
use spec::logs::StreamPlan;

type Variables = BTreeMap<&'static str, &'static str>;

fn arguments(command: &str) -> RunOptions {
    RunOptions { command: command.split(' ').map(Into::into).collect(), ..RunOptions::default() }
}

fn run(
    personality: Personality,
    options: &CommonOptions,
    own: RunOptions,
    variables: &Variables,
) -> Result<Settings, String> {
    resolve(personality, options, ModeOptions::Run(Box::new(own)), variables, false).map_err(|error| error.0)
}

fn own(settings: Result<Settings, String>) -> SingleProcessSettings {
    match settings.map(|settings| settings.mode) {
        Ok(Mode::Own(own)) => *own,
        other => panic!("{other:?}"),
    }
}

fn supervising(wait: Option<&str>, restart: RestartOptions) -> ModeOptions {
    ModeOptions::Supervise(Box::new(SuperviseOptions {
        wait: wait.map(str::to_owned),
        restart,
        command: vec!["x".into()],
        ..SuperviseOptions::default()
    }))
}

fn supervise(
    wait: Option<&str>,
    restart: RestartOptions,
    personality: Personality,
) -> Result<Restart, String> {
    let mode = supervising(wait, restart);
    let settings = resolve(personality, &CommonOptions::default(), mode, &Variables::new(), false);
    settings.map(|settings| own(Ok(settings)).plan.jobs[0].restart.clone()).map_err(|error| error.0)
}

#[test]
fn precedence_is_command_line_then_sexton_then_kapo_variables() {
    let variables = Variables::from([("SEXTON_PORT", "2"), ("KAPO_PORT", "3"), ("KAPO_INTERFACE", "::1")]);
    let port = |personality, flag: Option<&str>| {
        let listen = ListenOptions { port: flag.map(str::to_owned), interface: None };
        let options = CommonOptions { listen, ..CommonOptions::default() };
        match run(personality, &options, arguments("true"), &variables).map(|settings| settings.listen) {
            Ok(Listen::At { address, .. }) => address.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(port(Personality::Sexton, Some("1")), "[::1]:1");
    assert_eq!(port(Personality::Sexton, None), "[::1]:2");
    assert_eq!(port(Personality::Kapo, None), "[::1]:3");
}

#[test]
fn errors_name_the_origin_the_value_and_what_was_expected() {
    let error = |name, value| {
        run(
            Personality::Sexton,
            &CommonOptions::default(),
            arguments("true"),
            &Variables::from([(name, value)]),
        )
        .err()
    };
    assert_eq!(
        error("KAPO_PORT", "http").as_deref(),
        Some("KAPO_PORT 'http': expected a port from 1 to 65535, 0 for any free port, or none")
    );
    assert_eq!(
        error("SEXTON_TTL", "40s..10s").as_deref(),
        Some("SEXTON_TTL '40s..10s': a range goes from the shorter to the longer, as in 10s..40s")
    );
    for (name, value) in [
        ("KAPO_INTERFACE", "eth0"),
        ("KAPO_SIDEBIND", "maybe"),
        ("KAPO_PORT", "65536"),
        ("SEXTON_STOP_SIGNAL", "NOPE"),
        ("SEXTON_STOP_SIGNAL", "CHLD"),
        ("SEXTON_GRACE_PERIOD", "-1"),
        ("SEXTON_STATUS_FORMAT", "xml"),
    ] {
        assert!(error(name, value).is_some_and(|error| error.starts_with(name)), "{name}={value}");
    }
    assert_eq!(error("KAPO_PORT", ""), None, "an empty variable counts as unset");
}

#[test]
fn sexton_forwards_output_by_default_and_kapo_discards_it() {
    let plan = |personality, variables: &[(&'static str, &'static str)]| {
        let variables = variables.iter().copied().collect();
        let output = own(run(personality, &CommonOptions::default(), arguments("true"), &variables)).output;
        (output.stdout, output.stderr)
    };
    use StreamPlan::{Discard, Inherit, Records};
    assert_eq!(plan(Personality::Sexton, &[]), (Inherit, Inherit));
    assert_eq!(plan(Personality::Sexton, &[("KAPO_STDLOG", "1")]), (Records, Records));
    assert_eq!(plan(Personality::Sexton, &[("SEXTON_STDOUT", "false")]), (Discard, Inherit));
    assert_eq!(plan(Personality::Kapo, &[]), (Discard, Discard));
    assert_eq!(plan(Personality::Kapo, &[("KAPO_STDERR", "true")]), (Discard, Inherit));
    assert_eq!(plan(Personality::Kapo, &[("KAPO_STDLOG", "true")]), (Records, Records));
    assert_eq!(plan(Personality::Kapo, &[("KAPO_STDLOG", "t"), ("KAPO_STDOUT", "t")]), (Records, Discard));
}

#[test]
fn the_restart_delay_grows_unless_it_is_fixed() {
    let seconds = Duration::from_secs;
    let growing = RestartDelay::Exponential {
        range: DurationRange { from: seconds(5), to: seconds(300) },
        reset_after: seconds(60),
        first_at_once: false,
    };
    let none = RestartOptions::default();
    assert_eq!(supervise(None, none.clone(), Personality::Sexton), Ok(Restart::always(growing, None)));
    let fixed = |n| Ok(Restart::always(RestartDelay::Fixed(seconds(n)), None));
    assert_eq!(supervise(None, none.clone(), Personality::Kapo), fixed(5));
    assert_eq!(supervise(Some("30"), none, Personality::Sexton), fixed(30));
    let backoff = RestartOptions { backoff: Some("1s..2s".to_owned()), ..RestartOptions::default() };
    assert!(
        supervise(Some("30"), backoff.clone(), Personality::Sexton)
            .is_err_and(|error| error.contains("--backoff"))
    );
    assert!(supervise(None, backoff.clone(), Personality::Sexton).is_ok());
    let variables = Variables::from([("KAPO_WAIT", "3")]);
    let mode = supervising(None, backoff);
    let settings = resolve(Personality::Sexton, &CommonOptions::default(), mode, &variables, false);
    let span = DurationRange { from: seconds(1), to: seconds(2) };
    let pause = RestartDelay::Exponential { range: span, reset_after: seconds(60), first_at_once: false };
    let restart = own(settings.map_err(|error| error.0)).plan.jobs[0].restart.clone();
    assert_eq!(restart, Restart::always(pause, None), "the command line takes precedence over a variable");
    let from_nothing = RestartOptions { backoff: Some("0..2s".to_owned()), ..RestartOptions::default() };
    assert!(supervise(None, from_nothing, Personality::Sexton).is_err());
    let window = RestartOptions { restart_window: Some("1m".to_owned()), ..RestartOptions::default() };
    assert!(supervise(None, window, Personality::Sexton).is_err());
}

#[test]
fn watch_takes_either_a_name_or_a_process_id() {
    let watch = |name: Option<&str>, pid: Option<&str>, wait: Option<&str>| {
        let text = |word: Option<&str>| word.map(str::to_owned);
        let raw = WatchOptions { name: text(name), pid: text(pid), wait: text(wait) };
        resolve(
            Personality::Kapo,
            &CommonOptions::default(),
            ModeOptions::Watch(raw),
            &Variables::new(),
            false,
        )
        .is_ok()
    };
    assert!(watch(Some("puppet"), None, None));
    assert!(watch(None, Some("17"), Some("500ms")));
    assert!(watch(Some("puppet"), Some("0"), None), "0 means no process");
    for (name, pid, wait) in [
        (None, None, None),
        (Some(""), None, None),
        (Some("x"), Some("17"), None),
        (None, Some("-3"), None),
        (None, Some("x"), None),
        (Some("x"), None, Some("0")),
    ] {
        assert!(!watch(name, pid, wait), "{name:?} {pid:?} {wait:?}");
    }
}

#[test]
fn a_ttl_of_zero_means_no_limit() {
    let ttl = |text: &str| {
        let process = ProcessOptions { ttl: Some(text.to_owned()), ..ProcessOptions::default() };
        let raw = RunOptions { process, ..arguments("x") };
        own(run(Personality::Sexton, &CommonOptions::default(), raw, &Variables::new())).plan.jobs[0].ttl
    };
    assert_eq!(ttl("0"), None);
    assert_eq!(ttl("0..0"), None);
    let seconds = Duration::from_secs;
    assert_eq!(ttl("10s..40s"), Some(DurationRange { from: seconds(10), to: seconds(40) }));
}

#[test]
fn an_ensemble_plan_survives_the_environment_variable() {
    let options = EnsembleOptions {
        role: Some(EnsembleRole::Both),
        app: Some("shop".to_owned()),
        shell_callback: Some("echo $(X)".to_owned()),
        identity: IdentityOptions { cloud: Some("aws".to_owned()), ..IdentityOptions::default() },
        ..EnsembleOptions::default()
    };
    let server =
        Variables::from([("SEXTON_PORT", "1"), ("SEXTON_SOCKET_ACTIVATION", "1"), ("HOME", "/root")]);
    let resolved = ResolvedEnsemble::new(options, &server).unwrap_or_else(|error| panic!("{error}"));
    let text = serde_json::to_string(&resolved).unwrap_or_else(|error| panic!("{error}"));
    let variables = BTreeMap::from([(spec::program::PLAN_VARIABLE, text.as_str())]);
    let settings = ResolvedEnsemble::from_environment(&variables).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(settings.listen, resolved.listen);
    let Listen::At { address, side: false } = settings.listen else { panic!("{:?}", settings.listen) };
    assert_eq!(address.to_string(), "0.0.0.0:8000");
    let Mode::Ensemble(plan) = settings.mode else { panic!("{:?}", settings.mode) };
    assert_eq!(*plan, resolved.plan);
}
