//! A file as a tree in which everything knows where it stands. YAML, and JSON, which is a part of it.
//!
//! What a file may hold is limited, so that a small one cannot become a large tree: an alias is a copy and
//! counts as such.

use std::collections::BTreeMap;
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// The largest file, in bytes.
pub const LARGEST: usize = 4 << 20;
/// The most values in a file, copies by aliases included.
const MOST_NODES: usize = 200_000;
/// The most text in a file, in bytes, copies by aliases included.
const MOST_TEXT: usize = 2 * LARGEST;
/// The deepest nesting.
const DEEPEST: usize = 64;

/// Where something stands; both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Position {
    fn of(span: Span) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Position,
    /// What it is.
    pub value: Value,
}

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A word; `plain`: without quotes, so that it may stand for a number, a boolean or nothing.
    Scalar {
        /// The word.
        text: String,
        /// Without quotes.
        plain: bool,
    },
    /// Values in order.
    List(Vec<Node>),
    /// Values by name, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// The name of a value in a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it stands.
    pub place: Position,
    /// The name.
    pub text: String,
}

/// A step on the way from the root of a tree to a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// To the value of this name.
    Key(String),
    /// To the value at this place of a list, from 0.
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A way as people write it: `processes.web.args[2]`.
#[must_use]
pub fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text = format!("{text}.{key}"),
            Step::Index(index) => text = format!("{text}[{index}]"),
        }
    }
    text
}

/// Why a text is no tree, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeError {
    /// Where.
    pub place: Position,
    /// Why.
    pub message: String,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place.line, self.place.column, self.message)
    }
}

impl Node {
    /// Does it stand for nothing?
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value of this name, if it is a map that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            Value::Scalar { .. } | Value::List(_) => None,
        }
    }

    /// The word that it is.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Where something stands: the name, if it has one; the nearest that there is, if there is no such thing.
    #[must_use]
    pub fn place_of(&self, path: &[Step]) -> Position {
        let mut place = self.place;
        let mut node = self;
        for step in path {
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(entries)) => entries
                    .iter()
                    .find(|(name, _)| name.text.eq_ignore_ascii_case(key))
                    .map(|(name, node)| (name.place, node)),
                (Step::Index(index), Value::List(items)) => items.get(*index).map(|node| (node.place, node)),
                _ => None,
            };
            let Some((at, inner)) = next else { break };
            (place, node) = (at, inner);
        }
        place
    }

    /// Takes out what stands there. False: there is no such thing.
    pub fn remove(&mut self, path: &[Step]) -> bool {
        let Some((last, way)) = path.split_last() else { return false };
        let mut node = self;
        for step in way {
            let next = match (step, &mut node.value) {
                (Step::Key(key), Value::Map(entries)) => entries
                    .iter_mut()
                    .find(|(name, _)| name.text.eq_ignore_ascii_case(key))
                    .map(|(_, node)| node),
                (Step::Index(index), Value::List(items)) => items.get_mut(*index),
                _ => None,
            };
            let Some(inner) = next else { return false };
            node = inner;
        }
        match (last, &mut node.value) {
            (Step::Key(key), Value::Map(entries)) => {
                let before = entries.len();
                entries.retain(|(name, _)| !name.text.eq_ignore_ascii_case(key));
                entries.len() < before
            }
            // Others keep their places: it becomes nothing.
            (Step::Index(index), Value::List(items)) => items.get_mut(*index).is_some_and(|item| {
                let was = item.is_null();
                item.value = Value::Scalar { text: String::new(), plain: true };
                !was
            }),
            _ => false,
        }
    }

    /// How many bytes its words and keys have.
    fn text_size(&self) -> usize {
        match &self.value {
            Value::Scalar { text, .. } => text.len(),
            Value::List(items) => items.iter().map(Self::text_size).sum(),
            Value::Map(entries) => entries.iter().map(|(key, node)| key.text.len() + node.text_size()).sum(),
        }
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }
}

/// Reads all documents of a text. An empty one is nothing.
pub fn parse(text: &str) -> Result<Vec<Node>, TreeError> {
    if text.len() > LARGEST {
        let message =
            format!("{} bytes are too many for a configuration: at most {} MiB", text.len(), LARGEST >> 20);
        return Err(TreeError { place: Position { line: 1, column: 1 }, message });
    }
    let mut builder = Builder::default();
    let mut documents = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| TreeError {
            place: Position { line: error.marker().line(), column: error.marker().col() + 1 },
            message: format!("not YAML: {}", error.info()),
        })?;
        builder
            .take(event, Position::of(span))
            .map_err(|message| TreeError { place: Position::of(span), message })?;
        if let Some(document) = builder.document.take() {
            documents.push(document);
        }
    }
    Ok(documents)
}

/// A list or map that is not complete.
struct Open {
    place: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// Of the key it is known whether it is plain: in quotes `<<` is a name like any other.
    Map {
        entries: Vec<(Key, Node)>,
        key: Option<(Key, bool)>,
        merged: Vec<Node>,
    },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    text: usize,
    document: Option<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, place: Position) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                // `!!str 5` is no number.
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.suffix != "str");
                self.complete(Node { place, value: Value::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map { entries: Vec::new(), key: None, merged: Vec::new() };
                self.begin(place, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { place, anchor, content }) = self.open.pop() else { return Ok(()) };
                let value = match content {
                    Content::List(items) => Value::List(items),
                    Content::Map { entries, merged, .. } => Value::Map(merge(entries, merged)?),
                };
                self.complete(Node { place, value }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err("this alias stands inside of what it names".to_owned());
                };
                let (nodes, text) = (node.size(), node.text_size());
                self.count(nodes, text)?;
                // Only what is allowed is copied.
                let node = self.anchors.get(&anchor).cloned();
                node.map_or(Ok(()), |node| self.complete(node, 0))
            }
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn count(&mut self, nodes: usize, text: usize) -> Result<(), String> {
        self.nodes += nodes;
        self.text += text;
        if self.nodes > MOST_NODES {
            return Err(format!("too many values, copies by aliases included: at most {MOST_NODES}"));
        }
        if self.text > MOST_TEXT {
            return Err(format!("too much text, copies by aliases included: at most {MOST_TEXT} bytes"));
        }
        Ok(())
    }

    fn begin(&mut self, place: Position, anchor: usize, content: Content) -> Result<(), String> {
        if self.open.len() >= DEEPEST {
            return Err(format!("nested too deeply: at most {DEEPEST} levels"));
        }
        self.open.push(Open { place, anchor, content });
        Ok(())
    }

    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.count(1, 0)?;
        if anchor > 0 {
            self.count(node.size(), node.text_size())?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.document = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { key: key @ None, .. }) => match node.value {
                Value::Scalar { text, plain } => *key = Some((Key { place: node.place, text }, plain)),
                Value::List(_) | Value::Map(_) => return Err("a key has to be a word".to_owned()),
            },
            Some(Content::Map { entries, key, merged }) => {
                let Some((key, plain)) = key.take() else { return Ok(()) };
                if plain && key.text == "<<" {
                    merged.push(node);
                } else if let Some((first, _)) = entries.iter().find(|(other, _)| other.text == key.text) {
                    let Key { text, place } = key;
                    return Err(format!(
                        "'{text}' stands here for the second time (at {}:{}), first in line {}",
                        place.line, place.column, first.place.line
                    ));
                } else {
                    entries.push((key, node));
                }
            }
        }
        Ok(())
    }
}

/// `<<` of YAML 1.1: what stands in the map itself counts before what is merged into it.
fn merge(mut entries: Vec<(Key, Node)>, merged: Vec<Node>) -> Result<Vec<(Key, Node)>, String> {
    for node in merged {
        let maps = match node.value {
            Value::List(items) => items,
            value => vec![Node { place: node.place, value }],
        };
        for map in maps {
            let Value::Map(more) = map.value else {
                return Err("'<<' takes a map, or a list of maps".to_owned());
            };
            for (key, node) in more {
                if !entries.iter().any(|(own, _)| own.text == key.text) {
                    entries.push((key, node));
                }
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        parse(text).unwrap_or_else(|error| panic!("{error}")).remove(0)
    }

    #[test]
    fn everything_knows_where_it_stands() {
        let node = one("a: 1\nlist:\n  - x\n  - {y: z}\n");
        let path = [Step::from("list"), Step::from(1), Step::from("y")];
        assert_eq!(node.place_of(&path), Position { line: 4, column: 6 });
        assert_eq!(dotted(&path), "list[1].y");
        assert_eq!(node.place_of(&[Step::from("list"), Step::from("none")]), Position { line: 2, column: 1 });
    }

    #[test]
    fn aliases_and_merges_are_copies() {
        let node = one("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\n");
        let used = node.get("use").unwrap_or_else(|| panic!("{node:?}"));
        assert_eq!(used.get("x").and_then(Node::text), Some("1"));
        assert_eq!(used.get("y").and_then(Node::text), Some("3"));
        let quoted = one("{\"<<\": x}");
        assert_eq!(quoted.get("<<").and_then(Node::text), Some("x"), "in quotes it is a name");
    }

    #[test]
    fn bombs_duplicates_and_depths_are_refused() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..9 {
            let list = vec![format!("*a{}", n - 1); 10].join(",");
            bomb += &format!("a{n}: &a{n} [{list}]\n");
        }
        assert!(parse(&bomb).is_err_and(|error| error.message.contains("too many values")));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(40_000), vec!["*a"; 300].join(", "));
        assert!(parse(&long).is_err_and(|error| error.message.contains("too much text")));
        let twice = parse("a: 1\nb: 2\na: 3\n");
        assert!(twice.is_err_and(|error| error.message.contains("first in line 1")));
        assert!(parse(&format!("{}{}", "[".repeat(80), "]".repeat(80))).is_err());
        assert!(parse("a: &x [*x]").is_err());
        assert!(parse(&"x".repeat(LARGEST + 1)).is_err());
        assert!(parse("a: [1\nb: 2").is_err_and(|error| error.place.line >= 1));
    }

    #[test]
    fn json_is_read_too() {
        let node = one("[{\"name\": \"web\", \"args\": [\"-p\", 80]}]");
        let Value::List(items) = &node.value else { panic!("{node:?}") };
        assert_eq!(items[0].get("name").and_then(Node::text), Some("web"));
    }
}
