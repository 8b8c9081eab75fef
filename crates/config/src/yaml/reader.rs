//! Deserializes a tree to a raw type and reports all problems at once.
//!
//! serde stops at the first error. Therefore the invalid value is removed from the tree and the rest is deserialized
//! again, until there are no more errors: every field of a raw type is optional. Unknown keys are collected, each with
//! the most similar known key.

use spec::suggest::hint;
use spec::suggest::nearest;
use std::cell::RefCell;
use std::fmt;

use serde::de;
use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, IntoDeserializer as _, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use crate::yaml::tree::{Node, Position, Step, Value, dotted};

/// The number of unknown keys for which a similar one is searched.
const MAX_SUGGESTIONS: usize = 100;

/// The maximum number of reported unknown keys.
pub(crate) const MAX_UNKNOWN: usize = 1000;

/// The maximum number of reported invalid values.
const MAX_PROBLEMS: usize = 50;

/// A problem in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub place: Position,
    /// Dotted, such as `processes.web.args[2]`.
    pub path: String,
    /// What is invalid and what was expected.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, path, message } = self;
        let colon = if path.is_empty() { "" } else { ": " };
        write!(f, "{}:{}: {path}{colon}{message}", place.line, place.column)
    }
}

/// The comparison of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    Exact,
    /// Case-insensitive.
    AnyCase,
}

/// Deserializes a tree. Invalid values are missing in the result and listed in the problems.
pub fn read<T: DeserializeOwned + Default>(root: &Node, keys: Keys) -> (T, Vec<Problem>) {
    let mut rest = root.clone();
    let mut problems: Vec<Problem> = Vec::new();
    loop {
        let shared = Shared { keys, unknown: RefCell::default(), path: RefCell::default() };
        let result = T::deserialize(Reader { node: &rest, shared: &shared });
        for (path, message) in shared.unknown.into_inner() {
            let problem = Problem { place: root.place_of(&path), path: dotted(&path), message };
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        let error = match result {
            Ok(value) => {
                problems.sort();
                return (value, problems);
            }
            Err(error) => error,
        };
        let path: Vec<_> = error.path.iter().rev().cloned().collect();
        problems.push(Problem { place: root.place_of(&path), path: dotted(&path), message: error.message });
        if problems.len() >= MAX_PROBLEMS || !rest.remove(&path) {
            problems.sort();
            return (T::default(), problems);
        }
    }
}

struct Shared {
    keys: Keys,
    unknown: RefCell<Vec<(Vec<Step>, String)>>,
    path: RefCell<Vec<Step>>,
}

impl Shared {
    fn within<T>(&self, step: Step, f: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.path.borrow_mut().push(step.clone());
        let result = f();
        self.path.borrow_mut().pop();
        result.map_err(|mut error| {
            error.path.push(step);
            error
        })
    }
}

/// An error with its path in reverse order.
#[derive(Debug)]
struct Error {
    message: String,
    path: Vec<Step>,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), path: Vec::new() }
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {}", described(unexpected)))
    }

    fn invalid_value(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format!("expected {expected}, found {}", described(unexpected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = hint(variant, expected.iter().copied());
        Self::custom(format!("'{variant}' is unknown{hint} (expected one of {})", expected.join(", ")))
    }
}

fn described(unexpected: de::Unexpected<'_>) -> String {
    match unexpected {
        de::Unexpected::Str(text) => format!("'{text}'"),
        de::Unexpected::Unit => "nothing".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a map".to_owned(),
        other => other.to_string().replace('`', "'"),
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    shared: &'a Shared,
}

impl Reader<'_> {
    fn not_text(self, expected: &dyn de::Expected) -> Result<&'static str, Error> {
        let unexpected = match &self.node.value {
            Value::List(_) => de::Unexpected::Seq,
            Value::Map(_) => de::Unexpected::Map,
            Value::Scalar { .. } => de::Unexpected::Unit,
        };
        Err(de::Error::invalid_type(unexpected, expected))
    }

    fn number<T: std::str::FromStr>(self) -> Option<T> {
        match &self.node.value {
            Value::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        }
    }
}

struct Expected(&'static str);

impl de::Expected for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $kind:ty, $expected:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.number::<$kind>() {
                Some(number) => visitor.$visit(number),
                None => self.unexpected($expected),
            }
        }
    )*};
}

impl Reader<'_> {
    fn unexpected<T>(self, expected: &'static str) -> Result<T, Error> {
        let unexpected = match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => de::Unexpected::Str(text),
            Value::Scalar { .. } => de::Unexpected::Unit,
            Value::List(_) => de::Unexpected::Seq,
            Value::Map(_) => de::Unexpected::Map,
        };
        Err(de::Error::invalid_type(unexpected, &Expected(expected)))
    }
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar { .. } if self.node.is_null() => visitor.visit_unit(),
            Value::Scalar { text, plain: true } => match text.as_str() {
                "true" | "True" | "TRUE" => visitor.visit_bool(true),
                "false" | "False" | "FALSE" => visitor.visit_bool(false),
                _ => {
                    let digits = text
                        .trim_start_matches(['-', '+'])
                        .starts_with(|c: char| c.is_ascii_digit() || c == '.');
                    if let (true, Ok(number)) = (digits, text.parse::<i64>()) {
                        visitor.visit_i64(number)
                    } else if let (true, Ok(number)) = (digits, text.parse::<f64>()) {
                        visitor.visit_f64(number)
                    } else {
                        visitor.visit_str(text)
                    }
                }
            },
            Value::Scalar { text, plain: false } => visitor.visit_str(text),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0, shared: self.shared }),
            Value::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter().map(|(key, node)| (key.text.as_str(), node)).collect(),
                next: 0,
                shared: self.shared,
            }),
        }
    }

    numbers! {
        deserialize_u8 visit_u8 u8, "a whole number from 0 to 255";
        deserialize_u16 visit_u16 u16, "a whole number from 0 to 65535";
        deserialize_u32 visit_u32 u32, "a whole number, not negative";
        deserialize_u64 visit_u64 u64, "a whole number, not negative";
        deserialize_i32 visit_i32 i32, "a whole number";
        deserialize_i64 visit_i64 i64, "a whole number";
        deserialize_f64 visit_f64 f64, "a number";
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.node.text() {
            Some("true" | "True" | "TRUE") => visitor.visit_bool(true),
            Some("false" | "False" | "FALSE") => visitor.visit_bool(false),
            _ => self.unexpected("true or false"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Scalar { text, .. } if !self.node.is_null() => visitor.visit_str(text),
            _ => self.not_text(&Expected("a string")).and_then(|text| visitor.visit_str(text)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(items) => visitor.visit_seq(Items { items, next: 0, shared: self.shared }),
            _ => self.unexpected("a list"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Map(_) => self.deserialize_any(visitor),
            _ => self.unexpected("a map"),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries: &[_] = match &self.node.value {
            Value::Map(entries) => entries,
            _ if self.node.is_null() => &[],
            _ => return self.unexpected("a map"),
        };
        let mut known = Vec::new();
        for (key, node) in entries {
            let same = |field: &&&str| match self.shared.keys {
                Keys::Exact => ***field == key.text,
                Keys::AnyCase => field.eq_ignore_ascii_case(&key.text),
            };
            if let Some(field) = fields.iter().find(same) {
                known.push((*field, node));
            } else {
                if self.shared.unknown.borrow().len() >= MAX_UNKNOWN {
                    continue;
                }
                let mut path = self.shared.path.borrow().clone();
                path.push(Step::Key(key.text.clone()));
                // One suggestion helps with a slip; a file of another kind needs none, and may have very many keys.
                let near = if self.shared.unknown.borrow().len() < MAX_SUGGESTIONS {
                    nearest(&key.text, fields.iter().copied())
                } else {
                    None
                };
                let message = match near {
                    Some(near) => format!("unknown key, did you mean '{near}'?"),
                    None => format!("unknown key (known here: {})", fields.join(", ")),
                };
                self.shared.unknown.borrow_mut().push((path, message));
            }
        }
        visitor.visit_map(Entries { entries: known, next: 0, shared: self.shared })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.node.text() {
            Some(text) if !self.node.is_null() => {
                let word: StrDeserializer<'_, Error> = text.into_deserializer();
                visitor.visit_enum(word)
            }
            _ => self.unexpected("a string"),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u128 f32 char bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
    shared: &'a Shared,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let step = Step::Index(self.next);
        self.next += 1;
        self.shared.within(step, || seed.deserialize(Reader { node, shared: self.shared }).map(Some))
    }
}

struct Entries<'a> {
    entries: Vec<(&'a str, &'a Node)>,
    next: usize,
    shared: &'a Shared,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, Error> = (*key).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, node) = self.entries[self.next];
        self.next += 1;
        self.shared.within(Step::from(key), || seed.deserialize(Reader { node, shared: self.shared }))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use crate::yaml::reader::*;
    use crate::yaml::tree::parse;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Inner {
        period_seconds: Option<u32>,
        kind: Option<Kind>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Kind {
        Always,
        Never,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Outer {
        name: Option<String>,
        inner: Inner,
        list: Vec<Option<u16>>,
    }

    fn all(text: &str, keys: Keys) -> (Outer, Vec<String>) {
        let node = parse(text).unwrap_or_else(|error| panic!("{error}")).remove(0);
        let (value, problems) = read(&node, keys);
        (value, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn reports_all_problems_with_positions_and_reads_the_rest() {
        let text = "name: 5\ninner:\n  periodSecond: 3\n  kind: alway\nlist: [1, x, 70000]\nfoo: 1\n";
        let (value, problems) = all(text, Keys::Exact);
        assert_eq!(value.name.as_deref(), Some("5"));
        assert_eq!(value.list, [Some(1), None, None]);
        assert_eq!(
            problems,
            [
                "3:3: inner.periodSecond: unknown key, did you mean 'periodSeconds'?",
                "4:3: inner.kind: 'alway' is unknown, did you mean 'always'? (expected one of always, never)",
                "5:11: list[1]: expected a whole number from 0 to 65535, found 'x'",
                "5:14: list[2]: expected a whole number from 0 to 65535, found '70000'",
                "6:1: foo: unknown key (known here: name, inner, list)",
            ]
        );
    }

    #[test]
    fn compares_keys_case_insensitively() {
        let (value, problems) = all("NAME: x\nInner: {PERIODSECONDS: 4}", Keys::AnyCase);
        assert_eq!(problems, [""; 0]);
        assert_eq!((value.name.as_deref(), value.inner.period_seconds), (Some("x"), Some(4)));
    }

    #[test]
    fn rejects_a_list_instead_of_a_map() {
        let (_, problems) = all("[1]", Keys::Exact);
        assert_eq!(problems, ["1:1: expected a map, found a list"]);
    }
}
