//! The XOR mask of client frames (RFC 6455 section 5.3).

/// Masks or unmasks `bytes` in place and leaves `key` turned for the byte that follows, so a payload may come in pieces.
pub(crate) fn apply(bytes: &mut [u8], key: &mut [u8; 4]) {
    // Servers do not mask: an all-zero key stands for that, and costs nothing.
    if *key == [0; 4] {
        return;
    }
    let [a, b, c, d] = *key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
    key.rotate_left(bytes.len() % 4);
}

#[cfg(test)]
mod tests {
    #[test]
    fn pieces_of_any_length_match_the_bytewise_definition() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        let plain: Vec<u8> = (0..100u8).collect();
        let expected: Vec<u8> = plain.iter().enumerate().map(|(i, b)| b ^ key[i % 4]).collect();
        for first in 0..=plain.len() {
            for second in first..=plain.len() {
                let (mut bytes, mut turning) = (plain.clone(), key);
                super::apply(&mut bytes[..first], &mut turning);
                super::apply(&mut bytes[first..second], &mut turning);
                super::apply(&mut bytes[second..], &mut turning);
                assert_eq!(bytes, expected, "cut at {first} and {second}");
            }
        }
    }
}
