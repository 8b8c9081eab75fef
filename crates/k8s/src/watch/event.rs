//! A line of a watch, as the API writes it.

use serde::Deserialize;

use crate::PodState;
use crate::pod::RawPod;
use crate::status::RawStatus;

/// What a line of a watch says.
#[derive(Debug)]
pub(super) enum Said {
    /// Something has happened.
    Event(Event),
    /// The server cannot go on with this watch.
    Error(RawStatus),
    /// Something of no concern: another pod, an empty line, a type of event that is not known here.
    Nothing,
}

/// What has happened, and the version from which to watch after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The newest version. Empty: not told.
    pub(crate) version: String,
    /// What has become of the pod.
    pub(crate) pod: Change,
}

/// What has become of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing; only the version goes on.
    None,
    /// There is a new one, or it has changed.
    Now(PodState),
    /// It is gone.
    Gone,
}

#[derive(Deserialize)]
struct Typed {
    r#type: String,
}

#[derive(Deserialize)]
struct With<T> {
    object: T,
}

/// Reads a line. Only the pod of this name counts, should the server or a proxy not have understood the selector.
pub(super) fn read(line: &[u8], name: &str) -> Result<Said, serde_json::Error> {
    if line.trim_ascii().is_empty() {
        return Ok(Said::Nothing);
    }
    let Typed { r#type } = serde_json::from_slice(line)?;
    match r#type.as_str() {
        "ERROR" => Ok(Said::Error(serde_json::from_slice::<With<_>>(line)?.object)),
        "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" => {
            let pod = serde_json::from_slice::<With<RawPod>>(line)?.object;
            let version = pod.version().unwrap_or_default().to_owned();
            let change = match r#type.as_str() {
                "BOOKMARK" => Change::None,
                _ if pod.name() != Some(name) => Change::None,
                "DELETED" => Change::Gone,
                _ => Change::Now(pod.read()),
            };
            Ok(Said::Event(Event { version, pod: change }))
        }
        _ => Ok(Said::Nothing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Said {
        read(line.as_bytes(), "web").unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    #[test]
    fn the_types_of_events_are_told_apart() {
        let event = |version: &str, pod| Event { version: version.to_owned(), pod };
        let pod = |version: &str| PodState {
            uid: "u".to_owned(),
            resource_version: version.to_owned(),
            containers: vec![],
        };
        for (line, expected) in [
            (
                r#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"web","uid":"u","resourceVersion":"3"}}}"#,
                event("3", Change::Now(pod("3"))),
            ),
            (
                r#"{"object":{"metadata":{"name":"web","uid":"u","resourceVersion":"4"}},"type":"MODIFIED"}"#,
                event("4", Change::Now(pod("4"))),
            ),
            (
                r#"{"type":"DELETED","object":{"metadata":{"name":"web","resourceVersion":"5"}}}"#,
                event("5", Change::Gone),
            ),
            (
                r#"{"type":"DELETED","object":{"metadata":{"name":"web-2","resourceVersion":"5"}}}"#,
                event("5", Change::None),
            ),
            (
                r#"{"type":"MODIFIED","object":{"metadata":{"name":"web-2","resourceVersion":"6"}}}"#,
                event("6", Change::None),
            ),
            (
                r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9","creationTimestamp":null},"spec":{"containers":null},"status":{}}}"#,
                event("9", Change::None),
            ),
            (r#"{"type":"BOOKMARK","object":{}}"#, event("", Change::None)),
        ] {
            let said = said(line);
            assert!(matches!(&said, Said::Event(event) if *event == expected), "{line}: {said:?}");
        }
        assert!(matches!(said(r#"{"type":"SOMETHING","object":7}"#), Said::Nothing));
        assert!(matches!(said(" \r"), Said::Nothing));
        let error = said(
            r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","reason":"Expired","code":410}}"#,
        );
        assert!(matches!(&error, Said::Error(status) if status.code() == 410), "{error:?}");
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for line in
            ["<html>", "{", "[]", "{}", r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":[]}"#, "\u{fffd}"]
        {
            assert!(read(line.as_bytes(), "web").is_err(), "{line}");
        }
    }
}
