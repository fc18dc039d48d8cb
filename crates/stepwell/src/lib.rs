//! Stepwell: durable workflows on the PostgreSQL you already run.
//!
//! A workflow is a DAG of steps. An [`Orchestrator`] turns requests into tasks and results into the next steps; pgmq
//! queues carry the messages; a [`Worker`] executes. A [`Client`] submits tasks and waits for them. All three share a
//! [`Database`], one process's link to one database, or [`Databases`], where namespaces live in several. *The worker executes; orchestration coordinates.*

mod address;
mod backoff;
mod client;
pub mod config;
mod database;
mod databases;
mod deadline;
pub mod doctor;
pub mod embedded;
mod error;
mod json;
pub mod orchestrator;
pub mod payload;
mod signals;
pub mod store;
pub mod telemetry;
pub mod worker;
pub mod workflow;
pub mod yaml;

pub use client::{Client, LetterPosition, Request};
pub use config::Config;
pub use database::Database;
pub use databases::Databases;
pub use error::{Error, Problem, Result};
pub use orchestrator::Orchestrator;
pub use worker::{StepHandler, Worker};
pub use workflow::Workflow;
