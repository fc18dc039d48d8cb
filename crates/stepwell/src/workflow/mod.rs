//! Definitions of workflows: reading, checking, ordering. Pure: no tokio, no SQL.

mod definition;
mod graph;
mod input;
mod names;
mod places;
mod yaml;

pub use definition::{Backoff, StepDefinition, Workflow};
pub use input::InputSchema;
pub(crate) use names::{check_name, check_namespaces};
pub use names::{split_workflow_name, Priority};
pub use yaml::from_yaml;
