//! Variables of the process's environment. One that cannot be read is an error that names it; it never counts as unset.

use std::ffi::OsString;

use config::Map;

use super::origin::Problems;

/// What the variables of settings begin with.
const PREFIX: &str = "STEPWELL__";

/// A variable without the blanks around it; none when it is not set.
///
/// # Errors
/// That it is not UTF-8.
pub(super) fn read(name: &str) -> Result<Option<String>, String> {
    std::env::var_os(name).map(|value| text(name, value)).transpose()
}

/// The variables of settings.
pub(super) fn of_settings(problems: &mut Problems) -> Map<String, String> {
    let mut values = Map::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.to_uppercase().starts_with(PREFIX)) else { continue };
        match text(name, value) {
            Ok(value) => drop(values.insert(name.to_owned(), value)),
            Err(why) => problems.other(why),
        }
    }
    values
}

/// Not shown when it is none: it may be a password.
fn text(name: &str, value: OsString) -> Result<String, String> {
    let value = value.into_string().map_err(|_| format!("the variable {name} is not UTF-8"))?;
    Ok(value.trim().to_owned())
}
