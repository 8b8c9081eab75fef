//! A YAML or JSON file as a tree of nodes with positions.
//!
//! The size is limited so that a small file cannot expand to a large tree: each alias counts as a copy.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// The maximum file size, in bytes.
pub const LARGEST: usize = 4 << 20;
/// The maximum number of values in a file, including copies by aliases.
const MAX_NODES: usize = 200_000;
/// The maximum amount of text in a file, in bytes, including copies by aliases.
const MAX_TEXT: usize = 2 * LARGEST;
/// The maximum nesting depth.
const MAX_DEPTH: usize = 64;

/// A position in a file; line and column start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    pub line: usize,
    /// In characters.
    pub column: usize,
}

impl Position {
    fn of(span: Span) -> Self {
        Self { line: span.start.line(), column: span.start.col() + 1 }
    }
}

/// A value with its position.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub place: Position,
    pub value: Value,
}

/// The value of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text; `plain`: without quotes, so that it may be a number, a boolean or null.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a map with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub place: Position,
    pub text: String,
}

/// One step of a path from the root to a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    Key(String),
    /// The index in a list, from 0.
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

/// Formats a path: `processes.web.args[2]`.
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

/// A syntax error with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeError {
    pub place: Position,
    pub message: String,
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.place.line, self.place.column, self.message)
    }
}

impl Node {
    /// Whether the value is null.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Returns the value of a key, if this is a map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            Value::Scalar { .. } | Value::List(_) => None,
        }
    }

    /// Returns the text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Returns the position of a path: of the key, if any, or of the nearest existing ancestor.
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

    /// Removes the value at a path. Returns false if it does not exist.
    pub fn remove(&mut self, path: &[Step]) -> bool {
        let Some((last, parents)) = path.split_last() else { return false };
        let mut node = self;
        for step in parents {
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
            // Set to null, so that the other elements keep their indexes.
            (Step::Index(index), Value::List(items)) => items.get_mut(*index).is_some_and(|item| {
                let was = item.is_null();
                item.value = Value::Scalar { text: String::new(), plain: true };
                !was
            }),
            _ => false,
        }
    }

    /// Returns the size of all texts and keys, in bytes.
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

/// Parses all documents of a text.
pub fn parse(text: &str) -> Result<Vec<Node>, TreeError> {
    if text.len() > LARGEST {
        let message =
            format!("{} bytes exceed the size limit of a configuration: {} MiB", text.len(), LARGEST >> 20);
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

/// A list or map that is being parsed.
struct Open {
    place: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// The key with its `plain` flag: a quoted `<<` is an ordinary key.
    Map {
        entries: Vec<(Key, Node)>,
        key: Option<(Key, bool)>,
        merged: Vec<Node>,
        /// The line of each key so far.
        lines: BTreeMap<String, usize>,
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
                // `!!str 5` is not a number.
                let plain = style == ScalarStyle::Plain && tag.is_none_or(|tag| tag.suffix != "str");
                self.complete(Node { place, value: Value::Scalar { text: text.into_owned(), plain } }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(place, anchor, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    key: None,
                    merged: Vec::new(),
                    lines: BTreeMap::new(),
                };
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
                    return Err("alias inside its own anchor".to_owned());
                };
                let (nodes, text) = (node.size(), node.text_size());
                self.count(nodes, text)?;
                // Copied only after the limits were checked.
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
        if self.nodes > MAX_NODES {
            return Err(format!("too many values including copies by aliases: the limit is {MAX_NODES}"));
        }
        if self.text > MAX_TEXT {
            return Err(format!("too much text including copies by aliases: the limit is {MAX_TEXT} bytes"));
        }
        Ok(())
    }

    fn begin(&mut self, place: Position, anchor: usize, content: Content) -> Result<(), String> {
        if self.open.len() >= MAX_DEPTH {
            return Err(format!("nested too deeply: the limit is {MAX_DEPTH} levels"));
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
                Value::List(_) | Value::Map(_) => return Err("a key must be a string".to_owned()),
            },
            Some(Content::Map { entries, key, merged, lines }) => {
                let Some((key, plain)) = key.take() else { return Ok(()) };
                if plain && key.text == "<<" {
                    merged.push(node);
                } else if let Some(first) = lines.insert(key.text.clone(), key.place.line) {
                    let Key { text, place } = key;
                    return Err(format!(
                        "duplicate key '{text}' at {}:{} (first defined on line {first})",
                        place.line, place.column
                    ));
                } else {
                    entries.push((key, node));
                }
            }
        }
        Ok(())
    }
}

/// Merges `<<` maps (YAML 1.1): keys of the map itself override merged keys.
fn merge(mut entries: Vec<(Key, Node)>, merged: Vec<Node>) -> Result<Vec<(Key, Node)>, String> {
    let known = |entries: &[(Key, Node)]| entries.iter().map(|(key, _)| key.text.clone()).collect();
    let mut names: BTreeSet<String> = if merged.is_empty() { BTreeSet::new() } else { known(&entries) };
    for node in merged {
        let maps = match node.value {
            Value::List(items) => items,
            value => vec![Node { place: node.place, value }],
        };
        for map in maps {
            let Value::Map(more) = map.value else {
                return Err("'<<' requires a map or a list of maps".to_owned());
            };
            for (key, node) in more {
                if names.insert(key.text.clone()) {
                    entries.push((key, node));
                }
            }
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use crate::yaml::tree::*;

    fn one(text: &str) -> Node {
        parse(text).unwrap_or_else(|error| panic!("{error}")).remove(0)
    }

    #[test]
    fn nodes_have_positions() {
        let node = one("a: 1\nlist:\n  - x\n  - {y: z}\n");
        let path = [Step::from("list"), Step::from(1), Step::from("y")];
        assert_eq!(node.place_of(&path), Position { line: 4, column: 6 });
        assert_eq!(dotted(&path), "list[1].y");
        assert_eq!(node.place_of(&[Step::from("list"), Step::from("none")]), Position { line: 2, column: 1 });
    }

    #[test]
    fn copies_aliases_and_merges_maps() {
        let node = one("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\n");
        let used = node.get("use").unwrap_or_else(|| panic!("{node:?}"));
        assert_eq!(used.get("x").and_then(Node::text), Some("1"));
        assert_eq!(used.get("y").and_then(Node::text), Some("3"));
        let quoted = one("{\"<<\": x}");
        assert_eq!(quoted.get("<<").and_then(Node::text), Some("x"), "a quoted << is an ordinary key");
    }

    #[test]
    fn rejects_alias_bombs_duplicate_keys_and_deep_nesting() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for n in 1..9 {
            let list = vec![format!("*a{}", n - 1); 10].join(",");
            bomb += &format!("a{n}: &a{n} [{list}]\n");
        }
        assert!(parse(&bomb).is_err_and(|error| error.message.contains("too many values")));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(40_000), vec!["*a"; 300].join(", "));
        assert!(parse(&long).is_err_and(|error| error.message.contains("too much text")));
        let twice = parse("a: 1\nb: 2\na: 3\n");
        assert!(twice.is_err_and(|error| error.message.contains("first defined on line 1")));
        assert!(parse(&format!("{}{}", "[".repeat(80), "]".repeat(80))).is_err());
        assert!(parse("a: &x [*x]").is_err());
        assert!(parse(&"x".repeat(LARGEST + 1)).is_err());
        assert!(parse("a: [1\nb: 2").is_err_and(|error| error.place.line >= 1));
    }

    #[test]
    fn parses_json() {
        let node = one("[{\"name\": \"web\", \"args\": [\"-p\", 80]}]");
        let Value::List(items) = &node.value else { panic!("{node:?}") };
        assert_eq!(items[0].get("name").and_then(Node::text), Some("web"));
    }
}
