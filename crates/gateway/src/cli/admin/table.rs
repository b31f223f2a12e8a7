//! Rows of JSON as a table for people.

use serde_json::Value;

/// One column: its heading, the field, and how its value is shown.
pub type Column = (&'static str, &'static str, fn(&Value) -> String);

/// A cell is cut here.
const WIDTH_MAX: usize = 60;

/// The rows as lines; a heading stands above, and numbers stand where they are read best.
pub fn table(rows: &[Value], columns: &[Column]) -> String {
    let cells: Vec<Vec<String>> = std::iter::once(columns.iter().map(|(heading, ..)| (*heading).to_owned()).collect())
        .chain(rows.iter().map(|row| columns.iter().map(|(_, field, show)| cut(show(&row[*field]))).collect()))
        .collect();
    let width = |at: usize| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in &cells {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn cut(text: String) -> String {
    // What a client chose must not steer the terminal.
    let plain: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if plain.chars().count() <= WIDTH_MAX {
        return plain;
    }
    plain.chars().take(WIDTH_MAX - 1).chain(['…']).collect()
}

/// As it is; nothing for what is missing.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Unix seconds as a time.
pub fn time(value: &Value) -> String {
    value.as_f64().map_or_else(String::new, |at| towline_protocol::timestamp::iso((at.max(0.0) * 1000.0) as u64))
}

/// Bytes with a unit.
pub fn bytes(value: &Value) -> String {
    let Some(bytes) = value.as_f64() else { return String::new() };
    match bytes {
        b if b < 1024.0 => format!("{b} B"),
        b if b < 1024.0 * 1024.0 => format!("{:.1} KiB", b / 1024.0),
        b if b < 1024.0 * 1024.0 * 1024.0 => format!("{:.1} MiB", b / 1024.0 / 1024.0),
        b => format!("{:.1} GiB", b / 1024.0 / 1024.0 / 1024.0),
    }
}

/// Seconds, no finer than a tenth.
pub fn seconds(value: &Value) -> String {
    value.as_f64().map_or_else(String::new, |seconds| format!("{seconds:.1} s"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_stand_under_their_headings_and_steer_no_terminal() {
        let rows = [json!({"user": "alice", "sent": 2048}), json!({"user": "b\u{1b}[31m", "sent": 5})];
        let text = table(&rows, &[("USER", "user", plain), ("SENT", "sent", bytes), ("ORG", "org", plain)]);
        assert_eq!(text, "USER    SENT     ORG\nalice   2.0 KiB\nb\u{fffd}[31m  5 B\n");
        assert_eq!(cut("x".repeat(100)).chars().count(), WIDTH_MAX);
        assert_eq!((time(&json!(0.5)).as_str(), seconds(&json!(1.26)).as_str()), ("1970-01-01T00:00:00.500Z", "1.3 s"));
    }
}
