//! Parses lines of a watch.

use serde::Deserialize;

use crate::PodState;
use crate::pod::RawPod;
use crate::status::RawStatus;

/// A line of a watch.
#[derive(Debug)]
pub(super) enum Line {
    /// An event.
    Event(Event),
    /// The server ends this watch with an error.
    Error(RawStatus),
    /// To be ignored: an empty line, or an unknown type of event.
    Ignored,
}

/// An event, and the version from which to resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The newest version; empty if the event has none.
    pub(crate) version: String,
    pub(crate) pod: PodChange,
}

/// A change of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PodChange {
    /// No change, only a newer version.
    None,
    /// The pod was created or has changed.
    Updated(PodState),
    /// The pod was deleted.
    Deleted,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

#[derive(Deserialize)]
struct With<T> {
    object: T,
}

/// Parses a line. Events of other pods are ignored, in case the server or a proxy ignores the selector.
pub(super) fn read(line: &[u8], name: &str) -> Result<Line, serde_json::Error> {
    if line.trim_ascii().is_empty() {
        return Ok(Line::Ignored);
    }
    let Typed { r#type } = serde_json::from_slice(line)?;
    match r#type.as_str() {
        "ERROR" => Ok(Line::Error(serde_json::from_slice::<With<_>>(line)?.object)),
        "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" => {
            let pod = serde_json::from_slice::<With<RawPod>>(line)?.object;
            let version = pod.version().unwrap_or_default().to_owned();
            let change = match r#type.as_str() {
                "BOOKMARK" => PodChange::None,
                _ if pod.name() != Some(name) => PodChange::None,
                "DELETED" => PodChange::Deleted,
                _ => PodChange::Updated(pod.read()),
            };
            Ok(Line::Event(Event { version, pod: change }))
        }
        _ => Ok(Line::Ignored),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Line {
        read(line.as_bytes(), "web").unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn parses_all_types_of_events() {
        let event = |version: &str, pod| Event { version: version.to_owned(), pod };
        let pod = |version: &str| PodState {
            uid: "u".to_owned(),
            resource_version: version.to_owned(),
            containers: vec![],
        };
        for (line, expected) in [
            (
                r#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"web","uid":"u","resourceVersion":"3"}}}"#,
                event("3", PodChange::Updated(pod("3"))),
            ),
            (
                r#"{"object":{"metadata":{"name":"web","uid":"u","resourceVersion":"4"}},"type":"MODIFIED"}"#,
                event("4", PodChange::Updated(pod("4"))),
            ),
            (
                r#"{"type":"DELETED","object":{"metadata":{"name":"web","resourceVersion":"5"}}}"#,
                event("5", PodChange::Deleted),
            ),
            (
                r#"{"type":"DELETED","object":{"metadata":{"name":"web-2","resourceVersion":"5"}}}"#,
                event("5", PodChange::None),
            ),
            (
                r#"{"type":"MODIFIED","object":{"metadata":{"name":"web-2","resourceVersion":"6"}}}"#,
                event("6", PodChange::None),
            ),
            (
                r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9","creationTimestamp":null},"spec":{"containers":null},"status":{}}}"#,
                event("9", PodChange::None),
            ),
            (r#"{"type":"BOOKMARK","object":{}}"#, event("", PodChange::None)),
        ] {
            let parsed = parse(line);
            assert!(matches!(&parsed, Line::Event(event) if *event == expected), "{line}: {parsed:?}");
        }
        assert!(matches!(parse(r#"{"type":"SOMETHING","object":7}"#), Line::Ignored));
        assert!(matches!(parse(" \r"), Line::Ignored));
        let error = parse(
            r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410}}"#,
        );
        assert!(matches!(&error, Line::Error(status) if status.code() == 410), "{error:?}");
    }

    #[test]
    fn refuses_invalid_lines() {
        for line in
            ["<html>", "{", "[]", "{}", r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":[]}"#, "\u{fffd}"]
        {
            assert!(read(line.as_bytes(), "web").is_err(), "{line}");
        }
    }
}
