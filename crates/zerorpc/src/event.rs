//! Events of a channel: an array of a header, a name and arguments, in MessagePack.

use rmpv::Value;
use thiserror::Error;

/// Protocol version.
pub(crate) const VERSION: u64 = 3;
/// Maximum nesting of values.
const MAX_DEPTH: usize = 64;
/// Maximum number of values of an event: in memory a value takes many times its size on the wire.
const MAX_VALUES: usize = 4096;

// Names of events.
pub(crate) const HEARTBEAT: &str = "_zpc_hb";
pub(crate) const MORE: &str = "_zpc_more";
pub(crate) const OK: &str = "OK";
pub(crate) const ERR: &str = "ERR";
pub(crate) const STREAM: &str = "STREAM";
pub(crate) const STREAM_DONE: &str = "STREAM_DONE";

/// An error of a call, as reported by the server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {message}")]
pub struct Fault {
    /// Kind of error, such as `NameError`.
    pub name: String,
    pub message: String,
}

impl Fault {
    /// Creates a fault of this kind.
    pub fn new(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), message: message.into() }
    }

    pub(crate) fn value(&self) -> Value {
        // The third part stands for the traceback.
        Value::Array(vec![self.name.as_str().into(), self.message.as_str().into(), self.to_string().into()])
    }

    pub(crate) fn read(args: &Value) -> Self {
        let part = |at: usize| args.as_array().and_then(|all| all.get(at)).map(text).unwrap_or_default();
        Self { name: part(0), message: part(1) }
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Includes the ids and the version.
    pub(crate) header: Vec<(Value, Value)>,
    pub(crate) name: String,
    pub(crate) args: Value,
}

impl Event {
    /// Creates an event of the channel that the message `on` opened; `None`: this event opens one.
    pub(crate) fn new(id: Value, on: Option<&Value>, name: &str, args: Value) -> Self {
        let mut header = vec![("message_id".into(), id), ("v".into(), VERSION.into())];
        header.extend(on.map(|on| ("response_to".into(), on.clone())));
        Self { header, name: name.to_owned(), args }
    }

    pub(crate) fn header_value(&self, key: &str) -> Option<&Value> {
        self.header.iter().find(|(name, _)| name.as_str() == Some(key)).map(|(_, value)| value)
    }

    pub(crate) fn pack(self) -> Vec<u8> {
        let mut packed = Vec::new();
        let all = Value::Array(vec![Value::Map(self.header), self.name.into(), self.args]);
        // Cannot fail: writes to a vector.
        let _ = rmpv::encode::write_value(&mut packed, &all);
        packed
    }

    pub(crate) fn unpack(mut bytes: &[u8]) -> Result<Self, &'static str> {
        if !has_few_values(bytes) {
            return Err("too many values");
        }
        let read = rmpv::decode::read_value_with_max_depth(&mut bytes, MAX_DEPTH);
        let Ok(Value::Array(parts)) = read else { return Err("not an array in MessagePack") };
        let Ok([header, name, args]) = <[Value; 3]>::try_from(parts) else {
            return Err("expected three parts");
        };
        let Value::Map(header) = header else { return Err("the header is not a map") };
        let name = match name {
            Value::Binary(bytes) => String::from_utf8(bytes).ok(),
            Value::String(text) => text.into_str(),
            _ => None,
        };
        Ok(Self { header, name: name.ok_or("the name is not text")?, args })
    }
}

/// Returns whether an event has at most [`MAX_VALUES`] values. Invalid MessagePack is detected by the decoder.
fn has_few_values(mut bytes: &[u8]) -> bool {
    fn number(bytes: &[u8], length: usize) -> usize {
        bytes
            .iter()
            .take(length)
            .fold(0, |all, byte| all.saturating_mul(256).saturating_add(usize::from(*byte)))
    }
    // Number of values still expected.
    let mut open = 1usize;
    let mut seen = 0;
    while open > 0 {
        let Some((marker, rest)) = bytes.split_first() else { return true };
        open -= 1;
        seen += 1;
        // Number of following bytes that are not values, and number of nested values.
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
        if open.saturating_add(seen) > MAX_VALUES {
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
        fn counts_values_and_survives_a_round_trip(values in proptest::collection::vec(value(), 0..6)) {
            let event = Event::new("x".into(), None, "f", Value::Array(values));
            prop_assert!(has_few_values(&event.clone().pack()));
            prop_assert_eq!(Event::unpack(&event.clone().pack()), Ok(event));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Event::unpack(&bytes);
        }
    }

    #[test]
    fn an_event_survives_a_round_trip() {
        let event = Event::new(Value::Binary(vec![1, 2]), Some(&"x".into()), OK, vec![Value::from(1)].into());
        assert_eq!(Event::unpack(&event.clone().pack()), Ok(event));
    }

    #[test]
    fn refuses_invalid_and_deeply_nested_events() {
        let mut deep = vec![0x91; 100_000];
        deep.push(0xc0);
        assert_eq!(Event::unpack(&deep), Err("too many values"));
        assert_eq!(Event::unpack(&deep[..100]), Err("not an array in MessagePack"));
        let event = |args: Vec<Value>| Event::new("x".into(), None, "f", Value::Array(args)).pack();
        assert!(Event::unpack(&event(vec![Value::Nil; MAX_VALUES - 9])).is_ok());
        assert!(Event::unpack(&event(vec![Value::Nil; MAX_VALUES])).is_err());
        // A text is one value, whatever its length.
        assert!(Event::unpack(&event(vec!["x".repeat(1 << 20).into()])).is_ok());
        // An array with a declared length of 4294967295 and no content.
        assert_eq!(Event::unpack(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Err("too many values"));
        let packed = |value: &Value| {
            let mut packed = Vec::new();
            let _ = rmpv::encode::write_value(&mut packed, value);
            packed
        };
        let one = Value::Array(vec![Value::Map(Vec::new())]);
        assert_eq!(Event::unpack(&packed(&one)), Err("expected three parts"));
        let header = Value::Array(vec![Value::Nil, "x".into(), Value::Nil]);
        assert_eq!(Event::unpack(&packed(&header)), Err("the header is not a map"));
    }
}
