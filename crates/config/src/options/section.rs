//! The section `ensemble` of `sexton.yaml`: the options of `sexton ensemble`, read from YAML keys.

use std::fmt;

use serde::de::{self, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::ensemble::{EnsembleOptions, EnsembleRole};
use crate::file::scalars::{Map, OneOrMany, Text};
use spec::duration;

/// A duration, checked and kept as written.
struct Duration(String);

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        match duration::parse(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(de::Error::custom(format!("'{text}': {error}"))),
        }
    }
}

impl From<Duration> for String {
    fn from(Duration(text): Duration) -> Self {
        text
    }
}

/// A list, as the command line has it: separated by commas.
#[derive(Deserialize)]
struct List(OneOrMany<String>);

impl From<List> for String {
    fn from(List(items): List) -> Self {
        items.0.join(",")
    }
}

/// A map, as the command line has it: JSON.
#[derive(Deserialize)]
struct Pairs(Map<String>);

impl From<Pairs> for String {
    fn from(Pairs(pairs): Pairs) -> Self {
        serde_json::json!(pairs).to_string()
    }
}

/// An option that a key can set.
trait Assign<T> {
    fn set(&mut self, value: Option<T>);
}

impl<T, O: From<T>> Assign<T> for Option<O> {
    fn set(&mut self, value: Option<T>) {
        *self = value.map(O::from);
    }
}

impl Assign<Self> for bool {
    fn set(&mut self, value: Option<Self>) {
        *self = value.unwrap_or_default();
    }
}

/// Reads a map with these keys: the key, the option it sets, how its value is written.
macro_rules! keys {
    ($($key:literal $($field:ident).+ $kind:ty;)*) => {
        const KEYS: &[&str] = &[$($key),*];

        fn read<'de, A: MapAccess<'de>>(mut map: A) -> Result<EnsembleOptions, A::Error> {
            let mut options = EnsembleOptions::default();
            while let Some(key) = map.next_key::<String>()? {
                match key.as_str() {
                    $($key => options.$($field).+.set(map.next_value::<Option<$kind>>()?),)*
                    _ => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(options)
        }
    };
}

keys! {
    "role" role EnsembleRole;
    "app" app String;
    "namespace" identity.namespace String;
    "id" identity.id String;
    "ip" identity.ip String;
    "host" identity.host String;
    "node" identity.node String;
    "labels" identity.labels Pairs;
    "annotations" identity.annotations Pairs;
    "fromKubernetes" identity.from_kubernetes bool;
    "podInfo" identity.pod_info String;
    "cloud" identity.cloud String;
    "labelRole" label_role String;
    "masters" masters List;
    "reportApp" report_app String;
    "payload" payload String;
    "memberTtl" member_ttl Duration;
    "failOver" fail_over Duration;
    "damper" damper Duration;
    "callback" callback String;
    "shellCallback" shell_callback String;
    "callbackDeadline" callback_deadline Duration;
    "tokenFile" token_file String;
    "allowUnauthenticatedInvoke" allow_unauthenticated_invoke bool;
    "invokeUser" invoke_user String;
    "authenticatedKeepalives" authenticated_keepalives bool;
    "tlsCert" tls_cert String;
    "tlsKey" tls_key String;
    "tlsCa" tls_ca String;
    "statsd" statsd String;
    "store" store.store String;
    "etcd" store.etcd List;
    "etcdCa" store.etcd_ca String;
    "etcdCert" store.etcd_cert String;
    "etcdKey" store.etcd_key String;
    "etcdUser" store.etcd_user String;
    "etcdPasswordFile" store.etcd_password_file String;
    "interface" listen.interface String;
    "port" listen.port Text;
}

impl<'de> Deserialize<'de> for EnsembleOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct This;
        impl<'de> Visitor<'de> for This {
            type Value = EnsembleOptions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnsembleOptions, A::Error> {
                read(map)
            }
        }
        deserializer.deserialize_struct("Ensemble", KEYS, This)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_schema_has_the_keys_that_are_read() {
        let schema = schemars::schema_for!(EnsembleOptions).to_value();
        let described: BTreeSet<_> =
            schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        assert_eq!(described, KEYS.iter().copied().collect());
    }
}
