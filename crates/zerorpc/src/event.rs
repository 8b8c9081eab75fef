//! What goes over a channel: an array of a header, a name and arguments, as MessagePack.

use rmpv::Value;
use thiserror::Error;

/// The version of the protocol.
pub(crate) const VERSION: u64 = 3;
/// How deep what is sent may be nested.
const DEEPEST: usize = 64;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
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
        assert_eq!(Event::unpack(&deep), Err("it is no array of MessagePack"));
        // An array that says to be of four thousand million, of which nothing comes.
        assert_eq!(Event::unpack(&[0xdd, 0xff, 0xff, 0xff, 0xff]), Err("it is no array of MessagePack"));
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
