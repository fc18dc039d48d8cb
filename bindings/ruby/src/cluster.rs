//! `Stepwell::Native::Cluster`: this process as one of the users of the private PostgreSQL of its working directory.

use std::sync::{Mutex, PoisonError};

use magnus::{function, method, Error, Module, Object, RModule, Ruby};
use stepwell::embedded::{Cluster, Options};

use crate::definitions::NativeConfig;
use crate::errors::entry;
use crate::guarded::Guarded;
use crate::gvl::block_on;

#[magnus::wrap(class = "Stepwell::Native::Cluster", free_immediately, size)]
struct NativeCluster {
    url: String,
    cluster: Guarded<Mutex<Option<Cluster>>>,
}

pub(crate) fn init(ruby: &Ruby, native: RModule) -> Result<(), Error> {
    let class = crate::define_class::<NativeCluster>(ruby, native, "Cluster")?;
    class.define_singleton_method("join", function!(join, 1))?;
    class.define_method("url", method!(url, 0))?;
    class.define_method("leave", method!(leave, 0))?;
    Ok(())
}

/// Joins the cluster, which is started if it does not run; nil where there is none.
fn join(ruby: &Ruby, config: &NativeConfig) -> Result<Option<NativeCluster>, Error> {
    entry(ruby, || {
        let options = Options::from(&config.config.embedded);
        let cluster = block_on(ruby, async move {
            Ok(match Cluster::exists(&options).await? {
                true => Some(Cluster::start(&options).await?),
                false => None,
            })
        })?;
        Ok(cluster.map(|cluster| NativeCluster {
            url: cluster.url().to_owned(),
            cluster: Guarded::new(Mutex::new(Some(cluster))),
        }))
    })
}

fn url(cluster: &NativeCluster) -> String {
    cluster.url.clone()
}

/// The last user that leaves stops the server. A second call does nothing.
fn leave(ruby: &Ruby, cluster: &NativeCluster) -> Result<(), Error> {
    entry(ruby, || {
        let cluster = cluster.cluster.get(ruby)?.lock().unwrap_or_else(PoisonError::into_inner).take();
        block_on(ruby, async move {
            if let Some(cluster) = cluster {
                cluster.stop().await?;
            }
            Ok(())
        })
    })
}
