//! Scalar and list types with more than one notation.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use spec::duration;

/// A duration: a number of seconds, or text such as `500ms` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HumanDuration(pub Duration);

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        duration::parse(&text.0)
            .map(Self)
            .map_err(|error| de::Error::custom(format!("'{}': {error}", text.0)))
    }
}

impl JsonSchema for HumanDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of seconds, or text such as 500ms, 90s or 1h30m.",
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": "^([0-9.]+(ns|us|µs|ms|s|m|h|d)?)+$"}
            ]
        })
    }
}

/// Text, which may look like a number or a boolean.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean"]})
    }
}

/// A list of arguments, or one text that is split like a shell splits it, without any expansion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextList(pub Vec<String>);

impl<'de> Deserialize<'de> for TextList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct This;
        impl<'de> Visitor<'de> for This {
            type Value = TextList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of arguments, or one text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TextList, E> {
                shell_words::split(text)
                    .map(TextList)
                    .map_err(|_| E::custom(format!("'{text}': a quote is not closed")))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<TextList, E> {
                Ok(TextList(vec![number.to_string()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<TextList, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = items.next_element::<Text>()? {
                    texts.push(text.0);
                }
                Ok(TextList(texts))
            }
        }
        deserializer.deserialize_any(This)
    }
}

impl JsonSchema for TextList {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TextList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A list of arguments, or one text that is split at white space outside quotes.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": ["string", "number", "boolean"]}}
            ]
        })
    }
}

/// One value, or a list of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: From<Text>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct This<T>(std::marker::PhantomData<T>);
        impl<'de, T: From<Text>> Visitor<'de> for This<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![Text(text.to_owned()).into()]))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = items.next_element::<Text>()? {
                    all.push(text.into());
                }
                Ok(OneOrMany(all))
            }
        }
        deserializer.deserialize_any(This(std::marker::PhantomData))
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

impl<T> JsonSchema for OneOrMany<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    }
}

/// Environment variables in the order of the file: a map, or a list of `name` and `value` as in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables(pub Vec<(String, Option<String>)>);

/// An entry of a Kubernetes list. `value_from` is distinguished because it needs a cluster.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NamedValue {
    name: Option<String>,
    value: Option<Text>,
    value_from: Option<de::IgnoredAny>,
}

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct This;
        impl<'de> Visitor<'de> for This {
            type Value = Variables;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of variables, or a list of names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Variables, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    all.push((name, Some(map.next_value::<Option<Text>>()?.unwrap_or_default().0)));
                }
                Ok(Variables(all))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Variables, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = items.next_element::<NamedValue>()? {
                    let name =
                        entry.name.ok_or_else(|| de::Error::custom("name of the variable is missing"))?;
                    // None: the value comes from the cluster.
                    let value = match (entry.value, entry.value_from) {
                        (None, Some(_)) => None,
                        (value, _) => Some(value.unwrap_or_default().0),
                    };
                    all.push((name, value));
                }
                Ok(Variables(all))
            }
        }
        deserializer.deserialize_any(This)
    }
}

impl JsonSchema for Variables {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Variables".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Environment variables: a map, or a list of name and value.",
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
                {"type": "array", "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "value": {"type": ["string", "number", "boolean"]}},
                    "required": ["name"],
                    "additionalProperties": false
                }}
            ]
        })
    }
}

/// Start dependencies: a name, a list of names, or a map of names to conditions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DependsOn(pub Vec<(String, Option<Condition>)>);

/// The condition of a start dependency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It is running, its startup probe has succeeded and its postStart hook has finished.
    Started,
    /// It is ready, or has exited with 0.
    Ready,
    /// It has exited permanently with 0.
    Succeeded,
    /// It has exited permanently with anything else.
    Failed,
    /// It has exited permanently.
    Exited,
}

impl<'de> Deserialize<'de> for DependsOn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct This;
        impl<'de> Visitor<'de> for This {
            type Value = DependsOn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, a list of names, or a map of names to conditions (started, ready, succeeded, failed, exited)")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<DependsOn, E> {
                Ok(DependsOn(vec![(name.to_owned(), None)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<DependsOn, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = items.next_element::<Text>()? {
                    all.push((name.0, None));
                }
                Ok(DependsOn(all))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DependsOn, A::Error> {
                let mut all = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    all.push((name, map.next_value::<Option<Condition>>()?));
                }
                Ok(DependsOn(all))
            }
        }
        deserializer.deserialize_any(This)
    }
}

impl JsonSchema for DependsOn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DependsOn".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Start dependencies: names (the condition is then ready), or names with a condition.",
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}},
                {"type": "object", "additionalProperties": {"enum": ["started", "ready", "succeeded", "failed", "exited", null]}}
            ]
        })
    }
}

/// A port: a number, or a name from `ports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// 1 to 65535.
    Number(u16),
    Name(String),
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        match text.parse::<u16>() {
            Ok(0) => Err(de::Error::custom("expected a port from 1 to 65535, or its name, found '0'")),
            Ok(number) => Ok(Self::Number(number)),
            Err(_) if text.starts_with(|c: char| c.is_ascii_digit() || c == '-') => Err(de::Error::custom(
                format!("expected a port from 1 to 65535, or its name, found '{text}'"),
            )),
            Err(_) => Ok(Self::Name(text)),
        }
    }
}

impl JsonSchema for Port {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A port: a number, or a name from `ports`.",
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": 65535}, {"type": "string"}]
        })
    }
}

/// An amount of memory in Kubernetes notation: `64Mi`, `1G`, `1500k`, or a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::deserialize(deserializer)?;
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let factor: u64 = match unit {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => 0,
        };
        let number = number.parse::<f64>().ok().filter(|_| factor > 0);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a limit need not be exact to the byte"
        )]
        let bytes = number.map(|number| (number * factor as f64) as u64);
        bytes.filter(|bytes| *bytes > 0).map(Self).ok_or_else(|| {
            de::Error::custom(format!("expected an amount of memory such as 64Mi or 1G, found '{text}'"))
        })
    }
}

impl JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount of memory: 64Mi, 1G, 1500k, or a number of bytes.",
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": "^[0-9.]+(k|M|G|T|Ki|Mi|Gi|Ti)?$"}
            ]
        })
    }
}

/// A known key that is not supported: parsed, then rejected or reported in a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported;

impl<'de> Deserialize<'de> for Unsupported {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A map of names to values.
pub type Map<T> = BTreeMap<String, T>;
