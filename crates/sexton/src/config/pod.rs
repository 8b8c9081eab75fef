//! What may be said of the others of a pod, in words.
//!
//! ```text
//! births   = item, …               all of them have to hold          proxy,db:started@1m?
//! deaths   = item, …               any of them will do               main,a+b|c:failed
//! item     = all | all | … [@timeout] [? or !]                       any of the groups
//! all      = term + term + …                                         all of the terms
//! term     = name[:condition]      started ready exited succeeded failed
//! ```
//!
//! A name is that of a tombstone in the graveyard, or the whole path of one elsewhere. `?`: go on when the time is
//! over; `!`: it is an error then.

use std::time::Duration;

use engine::{CodeMap, Condition, DependencyTerm, Expression, StartDependency, TimeoutAction};

use spec::duration;
use spec::names::{check, check_peer, is_url};
use spec::pod::Quit;
use spec::probe::HttpCheck;
use spec::suggest::hint;

/// How long a birth is waited for, unless somebody says otherwise: what kubexit has.
pub const DEFAULT_BIRTH_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a peer may take to come back by whose death we have ended before. The kubelet pauses five
/// minutes at most before it starts a container again.
pub const DEFAULT_REBIRTH_TIMEOUT: Duration = Duration::from_secs(600);
/// How long it may take to tell somebody to end.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// What holds where an item does not say.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// How long; None: for ever.
    pub timeout: Option<Duration>,
    /// And then.
    pub at_timeout: TimeoutAction,
}

/// A tool whose sidecar answers at addresses that everybody knows.
struct Profile {
    name: &'static str,
    /// A GET that is answered with 200 when it is ready.
    ready: &'static str,
    /// A POST that ends it.
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

/// What has to hold before a start.
pub fn births(text: &str, defaults: Defaults) -> Result<Vec<StartDependency>, String> {
    items(text)
        .map(|item| {
            let Item { words, timeout, at_timeout } = Item::read(item, defaults)?;
            Ok(StartDependency { expression: expression(words, Condition::Ready)?, timeout, at_timeout })
        })
        .collect()
}

/// Servers that have to be ready before a start: addresses, or profiles.
pub fn servers(text: &str, defaults: Defaults) -> Result<Vec<StartDependency>, String> {
    items(text)
        .map(|item| {
            let Item { words, timeout, at_timeout } = Item::read(item, defaults)?;
            let expression = Expression::of(address(words, |profile| profile.ready)?, Condition::Ready);
            Ok(StartDependency { expression, timeout, at_timeout })
        })
        .collect()
}

/// What ends us.
pub fn deaths(text: &str) -> Result<Vec<Expression>, String> {
    items(text).map(|item| expression(item, Condition::Exited)).collect()
}

/// Who is told to end: addresses, or profiles.
pub fn quits(text: &str) -> Result<Vec<Quit>, String> {
    let defaults = Defaults { timeout: Some(QUIT_TIMEOUT), at_timeout: TimeoutAction::StartAnyway };
    items(text)
        .map(|item| {
            let Item { words, timeout, at_timeout } = Item::read(item, defaults)?;
            let for_ever = || format!("'{words}': 0 is for ever, and we want to end");
            Ok(Quit {
                url: address(words, |profile| profile.quit)?,
                timeout: timeout.ok_or_else(for_ever)?,
                fatal: at_timeout == TimeoutAction::Fail,
            })
        })
        .collect()
}

/// Names alone, as kubexit has them.
pub fn plain_names(text: &str, condition: Condition) -> Result<Vec<Expression>, String> {
    items(text).map(|name| check(name).map(|()| Expression::of(name, condition))).collect()
}

/// Exit codes that stand for others: `143=0,caused=0`.
pub fn codes(text: &str) -> Result<CodeMap, String> {
    let mut map = CodeMap::default();
    for item in items(text) {
        let wrong = || format!("'{item}': expected CODE=CODE or caused=CODE, with codes from 0 to 255");
        let (from, to) = item.split_once('=').ok_or_else(wrong)?;
        let to = i32::from(to.parse::<u8>().map_err(|_| wrong())?);
        if from == "caused" {
            map.caused = Some(to);
        } else {
            map.codes.push((i32::from(from.parse::<u8>().map_err(|_| wrong())?), to));
        }
    }
    Ok(map)
}

/// A duration of which 0 stands for ever.
#[must_use]
pub fn or_for_ever(timeout: Duration) -> Option<Duration> {
    Some(timeout).filter(|timeout| !timeout.is_zero())
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

struct Item<'a> {
    words: &'a str,
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
        let (words, timeout) = match rest.rsplit_once('@') {
            // An address may hold one of its own.
            Some((words, timeout)) if !is_url(words) || duration::parse(timeout).is_ok() => {
                let timeout = duration::parse(timeout).map_err(|error| format!("'{timeout}': {error}"))?;
                (words, or_for_ever(timeout))
            }
            _ => (rest, defaults.timeout),
        };
        Ok(Self { words, timeout, at_timeout })
    }
}

/// A URL, or what a profile has for one.
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
            return Err(format!("'{word}': expected one of {} behind the colon{hint}", known.join(", ")));
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
    fn births_are_all_of_any_of_all() -> Result<(), String> {
        let births = births("proxy, db:started@1m?,a+b:failed | /other/c:exited@0", DEFAULTS)?;
        let told: Vec<_> = births.iter().map(|it| it.expression.to_string()).collect();
        assert_eq!(
            told,
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
    fn what_is_wrong_is_named() {
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
    fn servers_and_quits_are_addresses_or_profiles() -> Result<(), String> {
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
    fn codes_stand_for_others() -> Result<(), String> {
        let map = codes("143=0,caused=0, 3=4")?;
        assert_eq!((map.apply(143, false), map.apply(3, false), map.apply(9, true)), (0, 4, 0));
        Ok(())
    }
}
