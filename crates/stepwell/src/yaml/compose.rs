//! The parser's events become nodes. What a file can make grow is bounded: depth, and what its aliases bring in.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::{merge, scalar, Node, Value};

/// How deep mappings and lists may stand in each other, as in every JSON that Stepwell takes.
const DEEPEST: usize = 100;
/// Bytes that all anchors and aliases of a document may bring in: enough for thousands of steps, too little for an alias bomb.
const MOST_ALIASED: usize = 16 << 20;
/// What a node weighs beside its text.
const NODE: usize = 64;

/// Reads one document; none when there is nothing in the text but comments.
///
/// # Errors
/// A text that says what is wrong and in which line.
pub(crate) fn parse(text: &str) -> Result<Option<Node>, String> {
    let mut composer = Composer { parser: Parser::new_from_str(text), anchors: HashMap::new(), aliased: 0, depth: 0 };
    let mut document = None;
    while let Some((event, span)) = composer.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(..) if document.is_some() => {
                return Err(at(span.start.line(), "a second document begins; a file holds one"));
            }
            Event::DocumentStart(..) => {}
            event => document = Some(composer.node(event, span)?),
        }
    }
    // A document without anything is one of null.
    Ok(document.filter(|node| node.value != Value::Null))
}

pub(super) fn at(line: usize, what: impl std::fmt::Display) -> String {
    format!("line {line}: {what}")
}

struct Composer<'t> {
    parser: Parser<'t, StrInput<'t>>,
    /// Complete nodes by the parser's number of their anchor.
    anchors: HashMap<usize, Node>,
    /// Bytes that anchors and aliases have brought in.
    aliased: usize,
    depth: usize,
}

impl<'t> Composer<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, String> {
        self.parser.next_event().transpose().map_err(|error: ScanError| at(error.marker().line(), error.info()))
    }

    /// The next event inside a mapping or list, which is there: the parser itself finds the end of the text.
    fn inside(&mut self, line: usize) -> Result<(Event<'t>, Span), String> {
        self.next()?.ok_or_else(|| at(line, "what begins here does not end"))
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, String> {
        let line = span.start.line();
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.alias(anchor, line),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let value = scalar::value(&text, plain, tag.as_deref()).map_err(|what| at(line, what))?;
                (anchor, value)
            }
            Event::SequenceStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "seq", line)?;
                (anchor, self.deeper(line, Self::list)?)
            }
            Event::MappingStart(_, anchor, tag) => {
                check_tag(tag.as_deref(), "map", line)?;
                (anchor, self.deeper(line, Self::map)?)
            }
            other => return Err(at(line, format!("a value was expected, not {other:?}"))),
        };
        let node = Node { line, value };
        self.remember(anchor, &node)?;
        Ok(node)
    }

    /// Keeps a copy of what has an anchor. Copies of what stands inside each other count too.
    fn remember(&mut self, anchor: usize, node: &Node) -> Result<(), String> {
        if anchor > 0 {
            self.count(node, node.line)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn count(&mut self, node: &Node, line: usize) -> Result<(), String> {
        self.aliased += weight(node);
        if self.aliased > MOST_ALIASED {
            let most = MOST_ALIASED >> 20;
            return Err(at(line, format!("the anchors and aliases of this file bring in more than {most} MB")));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: usize) -> Result<Node, String> {
        // The parser knows every anchor that has begun; one that has not ended is not remembered yet.
        let Some(node) = self.anchors.remove(&anchor) else {
            return Err(at(line, "the alias stands inside what it names, which would never end"));
        };
        self.count(&node, line)?;
        if self.depth + depth(&node) > DEEPEST {
            return Err(too_deep(line));
        }
        let copy = node.clone();
        self.anchors.insert(anchor, node);
        Ok(copy)
    }

    fn deeper(&mut self, line: usize, read: fn(&mut Self, usize) -> Result<Value, String>) -> Result<Value, String> {
        if self.depth == DEEPEST {
            return Err(too_deep(line));
        }
        self.depth += 1;
        let value = read(self, line);
        self.depth -= 1;
        value
    }

    fn list(&mut self, line: usize) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            match self.inside(line)? {
                (Event::SequenceEnd, _) => return Ok(Value::List(items)),
                (event, span) => items.push(self.node(event, span)?),
            }
        }
    }

    fn map(&mut self, line: usize) -> Result<Value, String> {
        let mut entries: Vec<(String, Node)> = Vec::new();
        let mut lines: HashMap<String, usize> = HashMap::new();
        let mut merged = None;
        loop {
            let (event, span) = self.inside(line)?;
            if event == Event::MappingEnd {
                return merge::apply(entries, merged).map(Value::Map);
            }
            let line = span.start.line();
            let is_merge = merge::is_key(&event);
            let key = self.key(event, line)?;
            let place = if is_merge { format!("{key} ") } else { key.clone() }; // a quoted "<<" is another key
            if let Some(first) = lines.insert(place, line) {
                let hint = if is_merge { "; one merge takes a list: <<: [*a, *b]" } else { "" };
                return Err(at(line, format!("the key {key} is there twice, first in line {first}{hint}")));
            }
            let (event, span) = self.inside(line)?;
            let value = self.node(event, span)?;
            match is_merge {
                true => merged = Some((entries.len(), value)),
                false => entries.push((key, value)),
            }
        }
    }

    fn key(&mut self, event: Event<'t>, line: usize) -> Result<String, String> {
        match event {
            // JSON has texts for keys: 1 and "1" are the same one.
            Event::Scalar(text, _, anchor, tag) => {
                check_tag(tag.as_deref(), "str", line)?;
                let key = text.into_owned();
                self.remember(anchor, &Node { line, value: Value::Text(key.clone()) })?;
                Ok(key)
            }
            Event::Alias(anchor) => match self.alias(anchor, line)?.value {
                Value::Text(key) | Value::Number(key) => Ok(key),
                _ => Err(at(line, "a key must be a text")),
            },
            _ => Err(at(line, "a key must be a text, not a mapping or a list")),
        }
    }
}

fn check_tag(tag: Option<&Tag>, allowed: &str, line: usize) -> Result<(), String> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(allowed) => {
            Err(at(line, format!("the tag {} is not known here", tag.original())))
        }
        _ => Ok(()),
    }
}

fn too_deep(line: usize) -> String {
    at(line, format!("mappings and lists stand more than {DEEPEST} deep in each other"))
}

fn weight(node: &Node) -> usize {
    NODE + match &node.value {
        Value::Text(text) | Value::Number(text) => text.len(),
        Value::List(items) => items.iter().map(weight).sum(),
        Value::Map(entries) => entries.iter().map(|(key, node)| key.len() + weight(node)).sum(),
        Value::Null | Value::Bool(_) => 0,
    }
}

fn depth(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
        _ => 0,
    }
}
