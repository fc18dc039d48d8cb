//! The native half of the stepwell gem: parse arguments, release the GVL, call the core, convert. No logic. Everything
//! stands under `Stepwell::Native`, private to the gem; the public API is Ruby.

#![allow(missing_docs)] // the items that the init macro makes; nothing here is public

mod client;
mod cluster;
mod command_line;
mod database;
mod definitions;
mod duration;
mod errors;
mod guarded;
mod gvl;
mod logging;
mod metrics;
mod operate;
mod orchestrator;
mod runtime;
mod step;
mod worker;

use magnus::{Error, Module, RClass, RModule, Ruby, TypedData};

#[magnus::init(name = "stepwell_native")]
fn init(ruby: &Ruby) -> Result<(), Error> {
    let native = ruby.define_module("Stepwell")?.define_module("Native")?;
    command_line::init(native)?;
    logging::init(native)?;
    metrics::init(ruby, native)?;
    definitions::init(ruby, native)?;
    database::init(ruby, native)?;
    orchestrator::init(ruby, native)?;
    client::init(ruby, native)?;
    cluster::init(ruby, native)?;
    step::init(ruby, native)?;
    worker::init(ruby, native)?;
    Ok(())
}

/// Defines the class of a wrapped type and lets magnus look it up, while no other thread can want to. It would otherwise do so when
/// the first value is wrapped, by a call of Ruby within a `OnceLock`: Ruby may switch threads in there, and the next that wraps a
/// value waits for that lock with the GVL, without which it is never opened.
fn define_class<T: TypedData>(ruby: &Ruby, native: RModule, name: &str) -> Result<RClass, Error> {
    native.define_class(name, ruby.class_object())?;
    Ok(T::class(ruby))
}
