//! placeholder until the module arrives
use std::path::PathBuf;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct EmbeddedError;
#[derive(Debug)]
pub struct Cluster;
pub struct Options { pub directory: PathBuf, pub bin_dir: Option<PathBuf>, pub start_timeout: std::time::Duration }
impl Cluster { pub async fn start(_: &Options) -> Result<Self, EmbeddedError> { Err(EmbeddedError) } pub fn url(&self) -> &str { "" } pub async fn stop(self) -> Result<(), EmbeddedError> { Ok(()) } }
impl From<&crate::config::Embedded> for Options { fn from(c: &crate::config::Embedded) -> Self { Self { directory: c.directory.clone(), bin_dir: c.bin_dir.clone(), start_timeout: std::time::Duration::from_secs(60) } } }
