//! Definitions in the database.

use super::{OrFail, Store};
use crate::error::{Error, Result};
use crate::workflow::{split_workflow_name, Workflow};

/// What a submit needs to know of a registered workflow.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct RegisteredWorkflow {
    /// Its version.
    pub version: String,
    /// Digest of the definition.
    pub digest: String,
    /// JSON schema of the context, as text.
    pub input_schema: Option<String>,
}

impl Store {
    /// Registers a definition; registering the same again changes nothing.
    ///
    /// # Errors
    /// [`Error::WorkflowConflict`] when the version exists with other content.
    pub async fn register_workflow(&self, workflow: &Workflow) -> Result<()> {
        sqlx::query("select stepwell.register_workflow($1::text::jsonb)")
            .bind(workflow.to_json())
            .execute(self)
            .await
            .or_fail(self)?;
        Ok(())
    }

    /// The newest of these versions of `namespace/name`, or of all: the one that was registered last.
    ///
    /// # Errors
    /// [`Error::UnknownWorkflow`] when there is none, [`Error::Validation`] when the name is none.
    pub async fn find_workflow(&self, full_name: &str, versions: Option<&[String]>) -> Result<RegisteredWorkflow> {
        let (namespace, name) = split_workflow_name(full_name)?;
        let found = sqlx::query_as(
            "select version, digest, input_schema::text
               from stepwell.workflows
              where namespace = $1 and name = $2 and ($3::text[] is null or version = any ($3))
              order by workflow_id desc limit 1",
        )
        .bind(namespace)
        .bind(name)
        .bind(versions)
        .fetch_optional(self)
        .await
        .or_fail(self)?;
        found.ok_or_else(|| Error::UnknownWorkflow {
            workflow: full_name.to_owned(),
            version: versions.map(|versions| versions.join(" or ")),
        })
    }
}
