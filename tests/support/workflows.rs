//! Workflows to run. A step's handler is called like the step unless it names another.

use serde_json::{json, Value};
use stepwell::Workflow;

/// A workflow in the namespace `test` from its steps, such as `[{"name": "a"}, {"name": "b", "depends_on": "a"}]`.
pub fn define(name: &str, steps: Value) -> Workflow {
    define_with(name, steps, json!({}))
}

/// The same, with other keys of a definition.
pub fn define_with(name: &str, mut steps: Value, keys: Value) -> Workflow {
    for step in steps.as_array_mut().expect("a list of steps") {
        if step.get("handler").is_none() {
            step["handler"] = step["name"].clone();
        }
    }
    let mut definition =
        json!({ "namespace": super::session::NAMESPACE, "name": name, "version": "1", "steps": steps });
    for (key, value) in keys.as_object().expect("an object of keys") {
        definition[key] = value.clone();
    }
    Workflow::from_json(&definition.to_string()).expect("a good definition")
}

/// Steps `a`, `b`, `c`, … one after the other.
pub fn chain(length: u8) -> Workflow {
    let name = |index: u8| char::from(b'a' + index).to_string();
    let steps = (0..length)
        .map(|index| json!({ "name": name(index), "depends_on": index.checked_sub(1).map(name).into_iter().collect::<Vec<_>>() }))
        .collect();
    define("chain", steps)
}

/// `left` and `right` after `start`, `end` after both.
pub fn diamond() -> Workflow {
    define(
        "diamond",
        json!([
            { "name": "start" },
            { "name": "left", "depends_on": "start" },
            { "name": "right", "depends_on": "start" },
            { "name": "end", "depends_on": ["left", "right"] }
        ]),
    )
}

/// `w0`, `w1`, … side by side, `join` after all of them.
pub fn fan_in(width: usize) -> Workflow {
    let wide: Vec<String> = (0..width).map(|index| format!("w{index}")).collect();
    let mut steps: Vec<Value> = wide.iter().map(|name| json!({ "name": name, "handler": "wide" })).collect();
    steps.push(json!({ "name": "join", "depends_on": wide }));
    define("fan_in", steps.into())
}
