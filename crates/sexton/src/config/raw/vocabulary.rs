//! Our words are those of the Kubernetes API: every name that it has in a pod is known to us, and in what is
//! Kubernetes' alone we know no other. `tools/kubernetes-vocabulary` takes its names from the API's schema.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{kubernetes, native};

/// The fields that a type reads.
fn fields_of<T: for<'de> Deserialize<'de>>() -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    // It always fails, once it has told its fields.
    let _ = T::deserialize(Spy(&mut fields));
    fields
}

struct Spy<'a>(&'a mut BTreeSet<String>);

#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("enough")
    }
}

impl std::error::Error for Enough {}

impl de::Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'de> Deserializer<'de> for Spy<'_> {
    type Error = Enough;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
        Err(Enough)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Enough> {
        self.0.extend(fields.iter().map(|field| (*field).to_owned()));
        Err(Enough)
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
fn our_words_are_those_of_the_api() {
    let text = include_str!("kubernetes.vocabulary.json");
    let vocabulary: Vocabulary = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let mut seen = 0;
    let mut check = |kind: &str, ours: BTreeSet<String>, own: &[&str]| {
        let theirs = &vocabulary.types[kind];
        let unknown: Vec<_> = theirs.difference(&ours).collect();
        assert!(unknown.is_empty(), "{kind} has {unknown:?}, which we do not know");
        let invented: Vec<_> = ours.difference(theirs).filter(|name| !own.contains(&name.as_str())).collect();
        assert!(invented.is_empty(), "we know {invented:?} of {kind}, which is not in the API");
        seen += 1;
    };
    check("PodSpec", fields_of::<kubernetes::Pod>(), &[]);
    check("Container", fields_of::<kubernetes::Container>(), &[]);
    check("ContainerPort", fields_of::<kubernetes::Port>(), &[]);
    check("ObjectMeta", fields_of::<kubernetes::Metadata>(), &[]);
    check("PodSecurityContext", fields_of::<kubernetes::PodSecurity>(), &[]);
    check("SecurityContext", fields_of::<kubernetes::ContainerSecurity>(), &[]);
    check("ResourceRequirements", fields_of::<kubernetes::Resources>(), &[]);
    // These are shared with our own form, which knows more.
    let more = ["file", "env", "floatingPid", "heartBeat", "sql", "amqp", "redis"];
    check("Probe", fields_of::<native::Probe>(), &more);
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
    // A variable's type is private to its list.
    assert_eq!(seen + 1, vocabulary.types.len());
    let variable = ["name", "value", "valueFrom"].map(str::to_owned);
    assert_eq!(vocabulary.types["EnvVar"], BTreeSet::from(variable));
}
