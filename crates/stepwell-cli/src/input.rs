//! JSON that comes as an argument, from a file, or from standard input.

use std::io::Read;

use serde::de::IgnoredAny;

use crate::failure::Failure;

/// The JSON text that an argument stands for: itself, `@FILE`, or `-`.
pub(crate) async fn json(option: &str, argument: &str) -> Result<String, Failure> {
    let (text, origin) = match (argument, argument.strip_prefix('@')) {
        ("-", _) => (standard_input(option).await?, "standard input".to_owned()),
        (_, Some(path)) => {
            let text = std::fs::read_to_string(path);
            (text.map_err(|error| Failure::Usage(format!("{option}: {path}: {error}")))?, path.to_owned())
        }
        _ => (argument.to_owned(), "the argument".to_owned()),
    };
    match serde_json::from_str::<IgnoredAny>(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Usage(format!("{option}: {origin} is no JSON: {error}"))),
    }
}

async fn standard_input(option: &str) -> Result<String, Failure> {
    // A blocking read on a thread of its own: an interrupt need not wait for it.
    let read = tokio::task::spawn_blocking(|| {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    });
    match read.await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(Failure::Usage(format!("{option}: standard input: {error}"))),
        Err(_) => Err(Failure::Interrupted),
    }
}
