//! What goes over a channel: an array of a header, a name and arguments, as MessagePack.

use rmpv::Value;
use thiserror::Error;

/// The version of the protocol.
pub(crate) const VERSION: u64 = 3;
/// How deep what is sent may be nested.
const DEEPEST: usize = 64;
/// How many values it may be made of: a value takes many times the room that one byte of it takes on the wire.
const MOST_VALUES: usize = 4096;

/// Names of events.
pub(crate) const HEARTBEAT: &str = "_zpc_hb";
pub(crate) const MORE: &str = "_zpc_more";
pub(crate) const OK: &str = "OK";
pub(crate) const ERR: &str = "ERR";
pub(crate) const STREAM: &str = "STREAM";
pub(crate) const STREAM_DONE: &str = "STREAM_DONE";

/// Why a call has failed, as the other side sees it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {message}")]
pub struct Fault {
    /// The kind of error, such as `NameError`.
    pub name: String,
    /// What has happened.
    pub message: String,
}

impl Fault {
    /// Of this kind.
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), message: message.into() }
    }

    pub(crate) fn value(&self) -> Value {
        // The third is the traceback, of which there is none.
        Value::Array(vec![self.name.as_str().into(), self.message.as_str().into(), self.to_string().into()])
    }

    pub(crate) fn read(args: &Value) -> Self {
        let word = |at: usize| args.as_array().and_then(|all| all.get(at)).map(text).unwrap_or_default();
        Self { name: word(0), message: word(1) }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// More than the ids and the version.
    pub(crate) header: Vec<(Value, Value)>,
    pub(crate) name: String,
    pub(crate) args: Value,
}

impl Event {
    /// Of a channel that this message has begun; None: this one begins it.
    pub(crate) fn new(id: Value, on: Option<&Value>, name: &str, args: Value) -> Self {
        let mut header = vec![("message_id".into(), id), ("v".into(), VERSION.into())];
        header.extend(on.map(|on| ("response_to".into(), on.clone())));
        Self { header, name: name.to_owned(), args }
    }

    pub(crate) fn of_header(&self, key: &str) -> Option<&Value> {
        self.header.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    pub(crate) fn pack(self) -> Vec<u8> {
        let mut packed = Vec::new();
        let all = Value::Array(vec![Value::Map(self.header), self.name.into(), self.args]);
        // A vector takes everything.
        let _ = rmpv::encode::write_value(&mut packed, &all);
        packed
    }

    pub(crate) fn unpack(mut bytes: &[u8]) -> Result<Self, &'static str> {
        if !is_modest(bytes) {
            return Err("it is made of too many values");
        }
        let read = rmpv::decode::read_value_with_max_depth(&mut bytes, DEEPEST);
        let Ok(Value::Array(parts)) = read else { return Err("it is no array of MessagePack") };
        let Ok([header, name, args]) = <[Value; 3]>::try_from(parts) else {
            return Err("it has other than three parts");
        };
        let Value::Map(header) = header else { return Err("its header is no map") };
        let name = match name {
            Value::Binary(bytes) => String::from_utf8(bytes).ok(),
            Value::String(text) => text.into_str(),
            _ => None,
        };
        Ok(Self { header, name: name.ok_or("its name is no text")?, args })
    }
}

/// Is it made of so many values at most? What is no MessagePack is seen by whoever reads it.
fn is_modest(mut bytes: &[u8]) -> bool {
    fn number(bytes: &[u8], length: usize) -> usize {
        bytes
            .iter()
            .take(length)
            .fold(0, |all, byte| all.saturating_mul(256).saturating_add(usize::from(*byte)))
    }
    // How many values are still to come.
    let mut open = 1usize;
    let mut seen = 0;
    while open > 0 {
        let Some((marker, rest)) = bytes.split_first() else { return true };
        open -= 1;
        seen += 1;
        // How many bytes follow that are no values, and how many values.
        let (skipped, values) = match *marker {
            0x80..=0x8f => (0, 2 * usize::from(marker & 0x0f)),
            0x90..=0x9f => (0, usize::from(marker & 0x0f)),
            0xa0..=0xbf => (usize::from(marker & 0x1f), 0),
            0xc4 | 0xd9 => (1 + number(rest, 1), 0),
            0xc5 | 0xda => (2 + number(rest, 2), 0),
            0xc6 | 0xdb => (number(rest, 4).saturating_add(4), 0),
            0xc7 => (2 + number(rest, 1), 0),
            0xc8 => (3 + number(rest, 2), 0),
            0xc9 => (number(rest, 4).saturating_add(5), 0),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xca | 0xce | 0xd2 => (4, 0),
            0xcb | 0xcf | 0xd3 => (8, 0),
            0xd4..=0xd8 => (1 + (1 << (marker - 0xd4)), 0),
            0xdc => (2, number(rest, 2)),
            0xdd => (4, number(rest, 4)),
            0xde => (2, 2 * number(rest, 2)),
            0xdf => (4, number(rest, 4).saturating_mul(2)),
            _ => (0, 0),
        };
        open = open.saturating_add(values);
        if open.saturating_add(seen) > MOST_VALUES {
            return false;
        }
        bytes = rest.get(skipped..).unwrap_or_default();
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f32>().prop_filter("not itself", |number| !number.is_nan()).prop_map(Value::from),
            any::<f64>().prop_filter("not itself", |number| !number.is_nan()).prop_map(Value::from),
            "[a-z]{0,300}".prop_map(Value::from),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Binary),
            (any::<i8>(), proptest::collection::vec(any::<u8>(), 0..20))
                .prop_map(|(kind, data)| Value::Ext(kind, data)),
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
                proptest::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_there(values in proptest::collection::vec(value(), 0..6)) {
            let event = Event::new("x".into(), None, "f", Value::Array(values));
            prop_assert!(is_modest(&event.clone().pack()));
            prop_assert_eq!(Event::unpack(&event.clone().pack()), Ok(event));
        }

        #[test]
        fn whatever_comes_is_an_event_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Event::unpack(&bytes);
        }
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let event = Event::new(Value::Binary(vec![1, 2]), Some(&"x".into()), OK, vec![Value::from(1)].into());
        assert_eq!(Event::unpack(&event.clone().pack()), Ok(event));
    }

    #[test]
    fn what_is_none_or_nested_without_end_is_refused() {
        let mut deep = vec![0x91; 100_000];
        deep.push(0xc0);
        assert_eq!(Event::unpack(&deep), Err("it is made of too many values"));
        assert_eq!(Event::unpack(&deep[..100]), Err("it is no array of MessagePack"));
        let event = |args: Vec<Value>| Event::new("x".into(), None, "f", Value::Array(args)).pack();
        assert!(Event::unpack(&event(vec![Value::Nil; MOST_VALUES - 9])).is_ok());
        assert!(Event::unpack(&event(vec![Value::Nil; MOST_VALUES])).is_err());
        // However long, a text is one.
        assert!(Event::unpack(&event(vec!["x".repeat(1 << 20).into()])).is_ok());
        // An array that says to be of four thousand million, of which nothing comes.
        assert_eq!(Event::unpack(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Err("it is made of too many values"));
        let packed = |value: &Value| {
            let mut packed = Vec::new();
            let _ = rmpv::encode::write_value(&mut packed, value);
            packed
        };
        let one = Value::Array(vec![Value::Map(Vec::new())]);
        assert_eq!(Event::unpack(&packed(&one)), Err("it has other than three parts"));
        let header = Value::Array(vec![Value::Nil, "x".into(), Value::Nil]);
        assert_eq!(Event::unpack(&packed(&header)), Err("its header is no map"));
    }
}
