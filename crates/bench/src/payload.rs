//! The measured payload: JSON of an exact size that carries a number, so that every delivery can be checked and not only counted.

/// Encloses the number; no system measured here writes it by itself.
const MARK: u8 = b'~';
const DIGITS: usize = 10;

/// `{"n":"~0000000042~","p":"xxx…"}` of exactly `size` bytes; the size is at least 32.
#[must_use]
pub fn payload(number: u64, size: usize) -> Vec<u8> {
    let mut text = format!("{{\"n\":\"~{number:010}~\",\"p\":\"").into_bytes();
    text.resize(size.saturating_sub(2), b'x');
    text.extend_from_slice(b"\"}");
    text
}

/// What an agent might say of a step: texts and numbers that differ from one to the next, for measuring encodings and compression.
#[must_use]
pub fn step(number: u64) -> Vec<u8> {
    const WORDS: [&str; 8] = ["revenue", "region", "quarter", "forecast", "customer", "contract", "margin", "inventory"];
    let word = |shift: u64| WORDS[(number.wrapping_mul(2_654_435_761) >> shift) as usize % WORDS.len()];
    let hits: Vec<String> = (3..6)
        .map(|at| format!(r#"{{"doc":"reports/{}-{}.md","score":0.{}}}"#, word(at), number % 97 + at, 91 - 7 * at))
        .collect();
    format!(
        r#"{{"n":"~{number:010}~","step":{},"total":5,"tool":"search","query":"{} {} by {}","hits":[{}],"elapsed_ms":{},"ok":true}}"#,
        number % 5 + 1,
        word(0),
        word(8),
        word(16),
        hits.join(","),
        1_000 + number % 777,
    )
    .into_bytes()
}

/// Finds the number in what arrived, wherever the server put it. `hint` remembers the place, because the next message has it there
/// or nearly there.
#[must_use]
pub fn number_in(message: &[u8], hint: &mut usize) -> Option<u64> {
    if let Some(number) = number_at(message, *hint) {
        return Some(number);
    }
    let found = (0..message.len()).find(|at| message[*at] == MARK && number_at(message, *at).is_some())?;
    *hint = found;
    number_at(message, found)
}

fn number_at(message: &[u8], at: usize) -> Option<u64> {
    let piece = message.get(at..at + DIGITS + 2)?;
    if piece[0] != MARK || piece[DIGITS + 1] != MARK {
        return None;
    }
    piece[1..=DIGITS].iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_has_its_size_and_its_number_is_found_wherever_it_stands() {
        for size in [32, 128, 4096] {
            let text = payload(42, size);
            assert_eq!(text.len(), size);
            serde_json::from_slice::<serde_json::Value>(&text).expect("JSON");
            let mut hint = 0;
            assert_eq!(number_in(&text, &mut hint), Some(42));
            let wrapped = [b"{\"offset\":7,\"data\":", text.as_slice(), b"}"].concat();
            assert_eq!(number_in(&wrapped, &mut hint), Some(42));
        }
        let said = step(42);
        serde_json::from_slice::<serde_json::Value>(&said).expect("JSON");
        assert_eq!(number_in(&said, &mut 0), Some(42));
        assert_eq!(number_in(b"{\"type\":\"pong\"}", &mut 0), None);
        assert_eq!(number_in(b"~123~", &mut 3), None);
    }
}
