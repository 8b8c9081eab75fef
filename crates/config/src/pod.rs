//! The text syntax of dependencies between the containers of a pod.
//!
//! ```text
//! births   = item, …               all must be met                   proxy,db:started@1m?
//! deaths   = item, …               any is sufficient                 main,a+b|c:failed
//! item     = all | all | … [@timeout] [? or !]                       any of the groups
//! all      = term + term + …                                         all of the terms
//! term     = name[:condition]      started ready exited succeeded failed
//! ```
//!
//! A name is that of a tombstone in the graveyard, or the full path of one elsewhere. After a timeout, `?` continues
//! and `!` is an error.

use std::time::Duration;

use engine::{CodeMap, Condition, DependencyTerm, Expression, StartDependency, TimeoutAction};

use spec::duration;
use spec::names::{check, check_peer, is_url};
use spec::pod::Quit;
use spec::probe::HttpCheck;
use spec::suggest::hint;

/// The default timeout of a birth dependency, as in kubexit.
pub const DEFAULT_BIRTH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait for a stopped peer to restart before its earlier exit counts again. The kubelet's back-off delay is
/// at most five minutes.
pub const DEFAULT_REBIRTH_TIMEOUT: Duration = Duration::from_secs(600);
/// The timeout of a quit request.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// The defaults of an item.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// None: no timeout.
    pub timeout: Option<Duration>,
    pub at_timeout: TimeoutAction,
}

/// A sidecar with well-known addresses.
struct Profile {
    name: &'static str,
    /// The URL of a GET request that returns 200 when it is ready.
    ready: &'static str,
    /// The URL of a POST request that shuts it down.
    quit: &'static str,
}

/// Istio: "15021 health checks" and `pilot-agent`'s /quitquitquit on 15020. Envoy: the administration
/// interface, 9901 in its documentation. Linkerd: its administration port 4191. Cloud SQL proxy, version 2:
/// --health-check (9090) and --quitquitquit (9091).
const PROFILES: [Profile; 4] = [
    Profile {
        name: "istio",
        ready: "http://127.0.0.1:15021/healthz/ready",
        quit: "http://127.0.0.1:15020/quitquitquit",
    },
    Profile {
        name: "envoy",
        ready: "http://127.0.0.1:9901/ready",
        quit: "http://127.0.0.1:9901/quitquitquit",
    },
    Profile { name: "linkerd", ready: "http://127.0.0.1:4191/ready", quit: "http://127.0.0.1:4191/shutdown" },
    Profile {
        name: "cloud-sql-proxy",
        ready: "http://127.0.0.1:9090/readiness",
        quit: "http://127.0.0.1:9091/quitquitquit",
    },
];

fn profile(word: &str) -> Result<&'static Profile, String> {
    PROFILES.iter().find(|profile| profile.name == word).ok_or_else(|| {
        let names = PROFILES.map(|profile| profile.name);
        let hint = hint(word, names);
        format!("'{word}': expected a URL or one of {}{hint}", names.join(", "))
    })
}

/// Parses the birth dependencies of a start.
pub fn births(text: &str, defaults: Defaults) -> Result<Vec<StartDependency>, String> {
    items(text)
        .map(|item| {
            let Item { text, timeout, at_timeout } = Item::read(item, defaults)?;
            Ok(StartDependency { expression: expression(text, Condition::Ready)?, timeout, at_timeout })
        })
        .collect()
}

/// Parses servers that must be ready before a start: URLs or profiles.
pub fn servers(text: &str, defaults: Defaults) -> Result<Vec<StartDependency>, String> {
    items(text)
        .map(|item| {
            let Item { text, timeout, at_timeout } = Item::read(item, defaults)?;
            let expression = Expression::of(address(text, |profile| profile.ready)?, Condition::Ready);
            Ok(StartDependency { expression, timeout, at_timeout })
        })
        .collect()
}

/// Parses death dependencies.
pub fn deaths(text: &str) -> Result<Vec<Expression>, String> {
    items(text).map(|item| expression(item, Condition::Exited)).collect()
}

/// Parses servers that are shut down at exit: URLs or profiles.
pub fn quits(text: &str) -> Result<Vec<Quit>, String> {
    let defaults = Defaults { timeout: Some(QUIT_TIMEOUT), at_timeout: TimeoutAction::StartAnyway };
    items(text)
        .map(|item| {
            let Item { text, timeout, at_timeout } = Item::read(item, defaults)?;
            let no_timeout = || format!("'{text}': expected a timeout of more than 0");
            Ok(Quit {
                url: address(text, |profile| profile.quit)?,
                timeout: timeout.ok_or_else(no_timeout)?,
                fatal: at_timeout == TimeoutAction::Fail,
            })
        })
        .collect()
}

/// Parses names without conditions, as in kubexit.
pub fn plain_names(text: &str, condition: Condition) -> Result<Vec<Expression>, String> {
    items(text).map(|name| check(name).map(|()| Expression::of(name, condition))).collect()
}

/// Parses a mapping of exit codes: `143=0,caused=0`.
pub fn codes(text: &str) -> Result<CodeMap, String> {
    let mut map = CodeMap::default();
    for item in items(text) {
        let invalid = || format!("'{item}': expected CODE=CODE or caused=CODE, with codes from 0 to 255");
        let (from, to) = item.split_once('=').ok_or_else(invalid)?;
        let to = i32::from(to.parse::<u8>().map_err(|_| invalid())?);
        if from == "caused" {
            map.caused = Some(to);
        } else {
            map.codes.push((i32::from(from.parse::<u8>().map_err(|_| invalid())?), to));
        }
    }
    Ok(map)
}

/// Converts a timeout, where 0 means no timeout.
#[must_use]
pub fn zero_as_none(timeout: Duration) -> Option<Duration> {
    Some(timeout).filter(|timeout| !timeout.is_zero())
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

struct Item<'a> {
    text: &'a str,
    timeout: Option<Duration>,
    at_timeout: TimeoutAction,
}

impl<'a> Item<'a> {
    fn read(text: &'a str, defaults: Defaults) -> Result<Self, String> {
        let (rest, at_timeout) = match (text.strip_suffix('?'), text.strip_suffix('!')) {
            (Some(rest), _) => (rest, TimeoutAction::StartAnyway),
            (_, Some(rest)) => (rest, TimeoutAction::Fail),
            (None, None) => (text, defaults.at_timeout),
        };
        let (text, timeout) = match rest.rsplit_once('@') {
            // A URL may contain an @ of its own.
            Some((text, timeout)) if !is_url(text) || duration::parse(timeout).is_ok() => {
                let timeout = duration::parse(timeout).map_err(|error| format!("'{timeout}': {error}"))?;
                (text, zero_as_none(timeout))
            }
            _ => (rest, defaults.timeout),
        };
        Ok(Self { text, timeout, at_timeout })
    }
}

/// Resolves a URL or the name of a profile.
fn address(word: &str, of: impl Fn(&Profile) -> &'static str) -> Result<String, String> {
    let url = if is_url(word) { word } else { of(profile(word)?) };
    match HttpCheck::of_url(url) {
        Ok(_) => Ok(url.to_owned()),
        Err(message) => Err(format!("'{word}': {message}")),
    }
}

fn expression(text: &str, condition: Condition) -> Result<Expression, String> {
    let group = |text: &str| text.split('+').map(|word| term(word.trim(), condition)).collect();
    text.split('|').map(group).collect::<Result<_, _>>().map(Expression)
}

fn term(word: &str, condition: Condition) -> Result<DependencyTerm, String> {
    let (name, condition) = match word.rsplit_once(':') {
        None => (word, condition),
        Some((name, "started")) => (name, Condition::Started),
        Some((name, "ready")) => (name, Condition::Ready),
        Some((name, "exited")) => (name, Condition::Exited),
        Some((name, "succeeded")) => (name, Condition::Succeeded),
        Some((name, "failed")) => (name, Condition::Failed),
        Some((_, other)) => {
            let known = ["started", "ready", "exited", "succeeded", "failed"];
            let hint = hint(other, known);
            return Err(format!("'{word}': expected one of {} after the colon{hint}", known.join(", ")));
        }
    };
    check_peer(name)?;
    Ok(DependencyTerm { peer: name.to_owned(), condition })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults =
        Defaults { timeout: Some(DEFAULT_BIRTH_TIMEOUT), at_timeout: TimeoutAction::Fail };

    #[test]
    fn parses_births_as_all_of_any_of_all() -> Result<(), String> {
        let births = births("proxy, db:started@1m?,a+b:failed | /other/c:exited@0", DEFAULTS)?;
        let texts: Vec<_> = births.iter().map(|it| it.expression.to_string()).collect();
        assert_eq!(
            texts,
            [
                "proxy to be ready",
                "db to be started",
                "a to be ready and b to be failed, or /other/c to be exited"
            ]
        );
        let times: Vec<_> = births.iter().map(|it| (it.timeout, it.at_timeout)).collect();
        assert_eq!(
            times,
            [
                (Some(DEFAULT_BIRTH_TIMEOUT), TimeoutAction::Fail),
                (Some(Duration::from_secs(60)), TimeoutAction::StartAnyway),
                (None, TimeoutAction::Fail)
            ]
        );
        Ok(())
    }

    #[test]
    fn error_names_the_invalid_part() {
        for (text, part) in [
            ("a:redy", "did you mean 'ready'?"),
            ("../a", "expected a tombstone name"),
            ("a@soon", "'soon': expected seconds"),
            ("a+", "'' is not a valid tombstone name: it is empty"),
            ("a||b", "it is empty"),
        ] {
            let error = births(text, DEFAULTS).err().unwrap_or_default();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(deaths("a:gone").is_err_and(|error| error.contains("expected one of started")));
        for (text, part) in [("143", "expected CODE=CODE"), ("256=0", "0 to 255"), ("caused=x", "0 to 255")] {
            assert!(codes(text).is_err_and(|error| error.contains(part)), "{text}");
        }
    }

    #[test]
    fn servers_and_quits_are_urls_or_profiles() -> Result<(), String> {
        let servers = servers("istio@2m,http://user@127.0.0.1:80/x?,http://h/a@b", DEFAULTS)?;
        assert_eq!(
            servers[0].expression,
            Expression::of("http://127.0.0.1:15021/healthz/ready", Condition::Ready)
        );
        assert_eq!(servers[1].expression, Expression::of("http://user@127.0.0.1:80/x", Condition::Ready));
        assert_eq!(servers[1].at_timeout, TimeoutAction::StartAnyway);
        let quits = quits("linkerd,http://127.0.0.1:1/q@2s!")?;
        assert_eq!((quits[0].url.as_str(), quits[0].fatal), ("http://127.0.0.1:4191/shutdown", false));
        assert_eq!((quits[1].timeout, quits[1].fatal), (Duration::from_secs(2), true));
        assert!(super::quits("istoi").is_err_and(|error| error.contains("did you mean 'istio'?")));
        assert!(super::servers("http://", DEFAULTS).is_err());
        Ok(())
    }

    #[test]
    fn maps_exit_codes() -> Result<(), String> {
        let map = codes("143=0,caused=0, 3=4")?;
        assert_eq!((map.apply(143, false), map.apply(3, false), map.apply(9, true)), (0, 4, 0));
        Ok(())
    }
}
