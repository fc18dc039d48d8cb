//! Which environment this is, and which files there are for it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::variables;
use crate::error::{Error, Result};

/// The environment by `STEPWELL_ENV`, `RAILS_ENV` or `RACK_ENV`, else `development`.
///
/// # Errors
/// [`Error::Configuration`] when the variable is not UTF-8.
pub fn current_environment() -> Result<String> {
    for variable in ["STEPWELL_ENV", "RAILS_ENV", "RACK_ENV"] {
        let value = variables::read(variable).map_err(|message| Error::Configuration { message })?;
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            return Ok(value);
        }
    }
    Ok("development".to_owned())
}

/// Any name that can be a file's.
pub(super) fn check_environment(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.chars().all(good) {
        return Ok(());
    }
    let message =
        format!("environment {name:?}: must be a name of 1 to 64 letters, digits, _, - and ., such as production");
    Err(Error::Configuration { message })
}

/// The file, or the one that is called `.yaml` instead of `.yml`, if there is one.
pub(super) fn existing(file: &Path) -> Result<Option<PathBuf>> {
    let there = |path: &Path| match path.metadata() {
        Ok(found) if found.is_file() => Ok(true),
        // To read it could take for ever.
        Ok(_) => Err(Error::Configuration { message: format!("{} is no file", path.display()) }),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(source) => Err(Error::File { path: path.display().to_string(), source }),
    };
    let other = file.with_extension("yaml");
    let is_yml = file.extension().is_some_and(|extension| extension == "yml");
    match (there(file)?, is_yml && there(&other)?) {
        (true, true) => {
            let message = format!("{} and {} are both there: keep one", file.display(), other.display());
            Err(Error::Configuration { message })
        }
        (true, false) => Ok(Some(file.to_owned())),
        (false, true) => Ok(Some(other)),
        (false, false) => Ok(None),
    }
}
