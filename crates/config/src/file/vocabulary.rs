//! Checks the key names against the Kubernetes API: every key that the API has in a pod is known here, and types that
//! only Kubernetes uses have no others. `tools/kubernetes-vocabulary` extracts the names from the schema of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::file::{kubernetes, native};

/// Returns the names of the fields that a type reads.
fn fields_of<T: for<'de> Deserialize<'de>>() -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    // It always fails after it has recorded the fields.
    let _ = T::deserialize(FieldRecorder(&mut fields));
    fields
}

struct FieldRecorder<'a>(&'a mut BTreeSet<String>);

#[derive(Debug)]
struct Stop;

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stop {}

impl de::Error for Stop {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> Deserializer<'de> for FieldRecorder<'_> {
    type Error = Stop;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Stop> {
        Err(Stop)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Stop> {
        self.0.extend(fields.iter().map(|field| (*field).to_owned()));
        Err(Stop)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[derive(serde::Deserialize)]
struct Vocabulary {
    types: BTreeMap<String, BTreeSet<String>>,
}

#[test]
fn key_names_match_the_kubernetes_api() {
    let text = include_str!("kubernetes.vocabulary.json");
    let vocabulary: Vocabulary = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let mut seen = 0;
    let mut check = |kind: &str, known: BTreeSet<String>, extensions: &[&str]| {
        let api = &vocabulary.types[kind];
        let unknown: Vec<_> = api.difference(&known).collect();
        assert!(unknown.is_empty(), "{kind} has unknown keys {unknown:?}");
        let invented: Vec<_> =
            known.difference(api).filter(|name| !extensions.contains(&name.as_str())).collect();
        assert!(invented.is_empty(), "the API has no keys {invented:?} in {kind}");
        seen += 1;
    };
    check("PodSpec", fields_of::<kubernetes::Pod>(), &[]);
    check("Container", fields_of::<kubernetes::Container>(), &[]);
    check("ContainerPort", fields_of::<kubernetes::Port>(), &[]);
    check("ObjectMeta", fields_of::<kubernetes::Metadata>(), &[]);
    check("PodSecurityContext", fields_of::<kubernetes::PodSecurity>(), &[]);
    check("SecurityContext", fields_of::<kubernetes::ContainerSecurity>(), &[]);
    check("ResourceRequirements", fields_of::<kubernetes::Resources>(), &[]);
    // These are shared with the native format, which has extensions.
    let extensions = ["file", "env", "floatingPid", "heartBeat", "sql", "amqp", "redis"];
    check("Probe", fields_of::<native::Probe>(), &extensions);
    check("HTTPGetAction", fields_of::<native::HttpGet>(), &["url"]);
    check("HTTPHeader", fields_of::<native::HttpHeader>(), &[]);
    check("TCPSocketAction", fields_of::<native::TcpSocket>(), &[]);
    check("GRPCAction", fields_of::<native::Grpc>(), &["host"]);
    check("ExecAction", fields_of::<native::Exec>(), &["env"]);
    check("SleepAction", fields_of::<native::Sleep>(), &[]);
    check("Lifecycle", fields_of::<native::Lifecycle>(), &[]);
    check("LifecycleHandler", fields_of::<native::Handler>(), &["deadline", "sql"]);
    check("ContainerRestartRule", fields_of::<native::RestartPolicyRule>(), &[]);
    check("ContainerRestartRuleOnExitCodes", fields_of::<native::ExitCodes>(), &[]);
    // The type of a variable is private to its list.
    assert_eq!(seen + 1, vocabulary.types.len());
    let variable = ["name", "value", "valueFrom"].map(str::to_owned);
    assert_eq!(vocabulary.types["EnvVar"], BTreeSet::from(variable));
}
