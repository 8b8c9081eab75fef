//! The file of an automaton, exactly as it may be written.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::words::{HumanDuration, OneOrMany, Text};

/// A state machine of shell scripts, driven over a unix socket.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct Automaton {
    /// The first state
    pub initial: Option<Text>,
    /// The last: it can be reached from every state, is left by none, and when its script has ended so do we
    pub terminal: Option<Text>,
    /// The states
    pub states: Option<Vec<State>>,
    /// Where it is asked [default: /var/run/automaton.sock]
    pub socket: Option<String>,
    /// The mode of the socket, in octal [default: "600"]
    pub socket_mode: Option<Text>,
}

/// One state.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct State {
    /// Its name
    pub tag: Option<Text>,
    /// What is run when it is entered, by sh -c
    pub shell: Option<Text>,
    /// A transition waits until the script has ended, instead of ending it
    pub force: Option<bool>,
    /// What may follow beside the terminal state: tags, or patterns as a shell has them; none: nothing
    pub next: Option<OneOrMany<String>>,
    /// The script is ended, and has failed, if it takes longer
    pub timeout: Option<HumanDuration>,
    /// The state to go to when the script fails
    #[serde(rename = "on-failure", alias = "onFailure")]
    pub on_failure: Option<Text>,
}

/// The name of a file, or an [`Automaton`]. What it is, is read from the tree ([`crate::config::automaton`]).
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
            "description": "The name of a file, or what would stand there.",
            "anyOf": [{"type": "string"}, inline]
        })
    }
}
