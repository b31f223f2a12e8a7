//! JSON text into MessagePack, in one pass and without building values.

/// The text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not JSON")]
pub struct NotJson;

/// Appends the value that `json` holds. Takes all JSON; the reverse is not promised: white space, numbers and texts are not judged as
/// strictly as a parser would. An object's keys are taken as they come, also twice.
///
/// # Errors
/// [`NotJson`]; nothing was appended.
pub fn from_json(json: &str, out: &mut Vec<u8>) -> Result<(), NotJson> {
    let start = out.len();
    let result = Writer { rest: json, out, open: Vec::new() }.value();
    if result.is_err() {
        out.truncate(start);
    }
    result
}

struct Writer<'a> {
    rest: &'a str,
    out: &'a mut Vec<u8>,
    /// Arrays and objects that have not ended. On the heap and not on the call stack: nesting is as deep as the text says.
    open: Vec<Open>,
}

/// An array or object that has not ended.
struct Open {
    /// Where its header stands: one byte at first, because few have more than 15 members.
    header: usize,
    count: u32,
    is_map: bool,
}

impl Writer<'_> {
    fn value(mut self) -> Result<(), NotJson> {
        loop {
            match self.next()? {
                b'{' => {
                    if self.begin(true, b'}') {
                        self.key()?;
                        continue;
                    }
                }
                b'[' => {
                    if self.begin(false, b']') {
                        continue;
                    }
                }
                b'"' => self.text()?,
                b't' => self.word("rue", 0xc3)?,
                b'f' => self.word("alse", 0xc2)?,
                b'n' => self.word("ull", 0xc0)?,
                first @ (b'-' | b'0'..=b'9') => self.number(first)?,
                _ => return Err(NotJson),
            }
            // A value has ended, and perhaps what it stands in.
            loop {
                let Some(open) = self.open.last_mut() else {
                    return if self.peek().is_none() { Ok(()) } else { Err(NotJson) };
                };
                let is_map = open.is_map;
                match next(&mut self.rest).ok_or(NotJson)? {
                    b',' => {
                        open.count += 1;
                        if is_map {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if is_map => self.end(),
                    b']' if !is_map => self.end(),
                    _ => return Err(NotJson),
                }
            }
        }
    }

    fn next(&mut self) -> Result<u8, NotJson> {
        next(&mut self.rest).ok_or(NotJson)
    }

    fn peek(&self) -> Option<u8> {
        next(&mut &*self.rest)
    }

    /// False if it is empty, and so ends at once.
    fn begin(&mut self, is_map: bool, end: u8) -> bool {
        let empty = self.peek() == Some(end);
        self.open.push(Open { header: self.out.len(), count: u32::from(!empty), is_map });
        self.out.push(0);
        !empty
    }

    fn end(&mut self) {
        let Some(Open { header, count, is_map }) = self.open.pop() else { return };
        let [few, many, most] = if is_map { [0x80, 0xde, 0xdf] } else { [0x90, 0xdc, 0xdd] };
        match count {
            0..16 => self.out[header] = few | count as u8,
            16..0x1_0000 => {
                self.out[header] = many;
                self.out.splice(header + 1..header + 1, (count as u16).to_be_bytes());
            }
            _ => {
                self.out[header] = most;
                self.out.splice(header + 1..header + 1, count.to_be_bytes());
            }
        }
    }

    fn key(&mut self) -> Result<(), NotJson> {
        if self.next()? != b'"' {
            return Err(NotJson);
        }
        self.text()?;
        if self.next()? == b':' { Ok(()) } else { Err(NotJson) }
    }

    fn word(&mut self, rest: &str, byte: u8) -> Result<(), NotJson> {
        self.rest = self.rest.strip_prefix(rest).ok_or(NotJson)?;
        self.out.push(byte);
        Ok(())
    }

    /// The text behind its opening quote.
    fn text(&mut self) -> Result<(), NotJson> {
        let bytes = self.rest.as_bytes();
        let end = memchr::memchr2(b'"', b'\\', bytes).ok_or(NotJson)?;
        if bytes[end] == b'"' {
            // Almost always: nothing is escaped.
            write_text(&self.rest[..end], self.out);
            self.rest = &self.rest[end + 1..];
            return Ok(());
        }
        let mut text = String::new();
        loop {
            let end = memchr::memchr2(b'"', b'\\', self.rest.as_bytes()).ok_or(NotJson)?;
            let (plain, rest) = self.rest.split_at(end);
            text.push_str(plain);
            self.rest = &rest[1..];
            if rest.starts_with('"') {
                write_text(&text, self.out);
                return Ok(());
            }
            text.push(self.escape()?);
        }
    }

    /// What a backslash begins.
    fn escape(&mut self) -> Result<char, NotJson> {
        let mut characters = self.rest.chars();
        let escaped = match characters.next().ok_or(NotJson)? {
            plain @ ('"' | '\\' | '/') => plain,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                self.rest = characters.as_str();
                return self.code_unit();
            }
            _ => return Err(NotJson),
        };
        self.rest = characters.as_str();
        Ok(escaped)
    }

    /// The digits of one UTF-16 code unit, and its partner if it has one. One without its partner is no character.
    fn code_unit(&mut self) -> Result<char, NotJson> {
        let unit = hex(&mut self.rest)?;
        if let Some(mut rest) = self.rest.strip_prefix("\\u")
            && (0xd800..0xdc00).contains(&unit)
        {
            let low = hex(&mut rest)?;
            if (0xdc00..0xe000).contains(&low) {
                self.rest = rest;
                let both = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return char::from_u32(both).ok_or(NotJson);
            }
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn number(&mut self, first: u8) -> Result<(), NotJson> {
        let end = self.rest.bytes().position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        let (rest, behind) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let whole = rest.bytes().all(|byte| byte.is_ascii_digit());
        self.rest = behind;
        let mut digits = String::with_capacity(rest.len() + 1);
        digits.push(char::from(first));
        digits.push_str(rest);
        if whole && let Ok(number) = digits.parse::<u64>() {
            write_unsigned(number, self.out);
        } else if whole
            && digits != "-0"
            && let Ok(number) = digits.parse::<i64>()
        {
            write_signed(number, self.out);
        } else {
            write_float(digits.parse().map_err(|_| NotJson)?, self.out);
        }
        Ok(())
    }
}

/// The next byte that is no white space.
fn next(rest: &mut &str) -> Option<u8> {
    *rest = rest.trim_start_matches([' ', '\t', '\n', '\r']);
    let byte = *rest.as_bytes().first()?;
    // What is not ASCII begins no token: its first byte is as good as all of it.
    *rest = rest.get(1..).unwrap_or_default();
    Some(byte)
}

fn hex(rest: &mut &str) -> Result<u32, NotJson> {
    let (digits, behind) = rest.split_at_checked(4).ok_or(NotJson)?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(NotJson);
    }
    *rest = behind;
    u32::from_str_radix(digits, 16).map_err(|_| NotJson)
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    let length = text.len();
    match length {
        0..32 => out.push(0xa0 | length as u8),
        32..0x100 => out.extend_from_slice(&[0xd9, length as u8]),
        0x100..0x1_0000 => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text.as_bytes());
}

fn write_unsigned(number: u64, out: &mut Vec<u8>) {
    match number {
        0..0x80 => out.push(number as u8),
        0x80..0x100 => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..0x1_0000 => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// A negative number.
fn write_signed(number: i64, out: &mut Vec<u8>) {
    if let Ok(number) = i8::try_from(number) {
        if number < -32 {
            out.push(0xd0);
        }
        out.push(number as u8);
    } else if let Ok(number) = i16::try_from(number) {
        out.push(0xd1);
        out.extend_from_slice(&number.to_be_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        out.push(0xd2);
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        out.push(0xd3);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_float(number: f64, out: &mut Vec<u8>) {
    let narrow = number as f32;
    if f64::from(narrow) == number {
        out.push(0xca);
        out.extend_from_slice(&narrow.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}
