//! JSON that comes as an argument, from a file, or from standard input.

use std::io::Read;

use serde::de::IgnoredAny;
use stepwell::payload;

use crate::failure::Failure;

/// The JSON text that an argument stands for: itself, `@FILE`, or `-`.
pub(crate) async fn json(option: &str, argument: &str) -> Result<String, Failure> {
    let (text, origin) = match (argument, argument.strip_prefix('@')) {
        ("-", _) => (standard_input(option).await?, "standard input".to_owned()),
        (_, Some(path)) => {
            let bytes = std::fs::read(path).map_err(|error| Failure::Usage(format!("{option}: {path}: {error}")))?;
            (text_of(bytes).map_err(|what| Failure::Usage(format!("{option}: {path} {what}")))?, path.to_owned())
        }
        _ => (argument.to_owned(), "the argument".to_owned()),
    };
    // Programs of Windows put a byte order mark before their texts.
    let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
    let wrong = |what: String| Failure::Usage(format!("{option}: {origin}{what}"));
    serde_json::from_str::<IgnoredAny>(&text).map_err(|error| wrong(format!(" is no JSON: {error}")))?;
    let problems: Vec<String> = payload::problems(&text).iter().map(ToString::to_string).collect();
    match problems.is_empty() {
        true => Ok(text),
        false => Err(wrong(format!(": {}", problems.join("; ")))),
    }
}

/// What a program wrote: UTF-8, or what PowerShell's `>` makes of it, which says so by its mark.
fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).collect::<Result<String, _>>().map_err(|_| "is not UTF-16".to_owned())
    };
    match bytes.get(..2) {
        Some([0xff, 0xfe]) => utf16(u16::from_le_bytes),
        Some([0xfe, 0xff]) => utf16(u16::from_be_bytes),
        _ => String::from_utf8(bytes)
            .map_err(|error| format!("is not UTF-8, from byte {} on", error.utf8_error().valid_up_to() + 1)),
    }
}

async fn standard_input(option: &str) -> Result<String, Failure> {
    // A blocking read on a thread of its own: an interrupt need not wait for it.
    let read = tokio::task::spawn_blocking(|| {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    });
    match read.await {
        Ok(Ok(bytes)) => text_of(bytes).map_err(|what| Failure::Usage(format!("{option}: standard input {what}"))),
        Ok(Err(error)) => Err(Failure::Usage(format!("{option}: standard input: {error}"))),
        Err(_) => Err(Failure::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::text_of;

    #[test]
    fn marks_of_windows_are_read() {
        let little: Vec<u8> = "\u{feff}{\"ą\": 1}\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "\u{feff}{\"ą\": 1}\r\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(text_of(little).unwrap(), "{\"ą\": 1}\r\n");
        assert_eq!(text_of(big).unwrap(), "{\"ą\": 1}\r\n");
        assert_eq!(text_of(b"{}".to_vec()).unwrap(), "{}");
        assert_eq!(text_of(b"{\"\xb1\"}".to_vec()).unwrap_err(), "is not UTF-8, from byte 3 on");
    }
}
