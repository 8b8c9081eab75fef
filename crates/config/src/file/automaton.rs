//! The file format of an automaton.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::file::scalars::{HumanDuration, OneOrMany, Text};

/// A state machine of shell scripts, controlled over a Unix socket.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Automaton {
    /// The tag of the first state
    pub initial: Option<Text>,
    /// The tag of the last state: it can be reached from every state and not be left; sexton exits after its script
    pub terminal: Option<Text>,
    /// The states
    pub states: Option<Vec<State>>,
    /// The path of the control socket [default: /var/run/automaton.sock]
    pub socket: Option<String>,
    /// The file mode of the control socket, in octal [default: "600"]
    pub socket_mode: Option<Text>,
}

/// One state.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct State {
    /// The name of the state
    pub tag: Option<Text>,
    /// The script that sh -c runs when the state is entered
    pub shell: Option<Text>,
    /// A transition waits until the script has finished instead of stopping it [default: false]
    pub force: Option<bool>,
    /// The states that may follow besides the terminal state: tags or shell patterns [default: none]
    pub next: Option<OneOrMany<String>>,
    /// The time after which the script is stopped and counts as failed; more than 0 [default: no timeout]
    pub timeout: Option<HumanDuration>,
    /// The state to go to when the script fails
    #[serde(rename = "on-failure", alias = "onFailure")]
    pub on_failure: Option<Text>,
}

/// The path of a file, or an [`Automaton`]; [`crate::automaton`] reads it from the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Section;

impl<'de> Deserialize<'de> for Section {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl JsonSchema for Section {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AutomatonSection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let inline = generator.subschema_for::<Automaton>();
        json_schema!({
            "description": "The path of a file, or the definition itself.",
            "anyOf": [{"type": "string"}, inline]
        })
    }
}
