//! JSON text as MessagePack and back: the binary encoding is the JSON one, value for value, so that there is one set of messages.
//!
//! What holds of numbers: whole numbers that fit 64 bits (signed or unsigned) stay what they are. All other numbers become the nearest
//! double, which is what `JSON.parse` makes of them: whole numbers beyond 64 bits, fractions, and what is beyond all doubles becomes
//! infinite. A double that a float of 32 bits holds exactly takes that form. On the way back a double is written with the fewest digits
//! that give the same double again.
//!
//! What has no JSON form is refused on the way back: binary strings, extensions (timestamps too), keys that are no text, infinities.
//! So is what is no sound message: a key twice in one map, text that is not UTF-8, bytes behind the value.
//!
//! Format: <https://github.com/msgpack/msgpack/blob/master/spec.md>.

mod from_json;
mod to_json;

pub use from_json::{NotJson, from_json};
pub use to_json::{MsgpackError, to_json};

/// How deep values may be nested on the way to JSON: as deep as the parser behind goes.
pub const DEPTH_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn packed(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        from_json(json, &mut out).unwrap();
        out
    }

    fn back(bytes: &[u8]) -> Result<String, MsgpackError> {
        to_json(bytes, 1 << 20)
    }

    /// From the specification's tables, byte for byte: the smallest form of each.
    #[test]
    fn each_kind_has_the_form_of_the_specification() {
        for (json, bytes) in [
            ("null", &[0xc0][..]),
            ("false", &[0xc2]),
            ("true", &[0xc3]),
            ("0", &[0x00]),
            ("127", &[0x7f]),
            ("128", &[0xcc, 0x80]),
            ("255", &[0xcc, 0xff]),
            ("256", &[0xcd, 0x01, 0x00]),
            ("65536", &[0xce, 0, 1, 0, 0]),
            ("4294967296", &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
            ("18446744073709551615", &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255]),
            ("-1", &[0xff]),
            ("-32", &[0xe0]),
            ("-33", &[0xd0, 0xdf]),
            ("-128", &[0xd0, 0x80]),
            ("-129", &[0xd1, 0xff, 0x7f]),
            ("-32769", &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
            ("-2147483649", &[0xd3, 255, 255, 255, 255, 0x7f, 255, 255, 255]),
            ("-9223372036854775808", &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
            ("1.5", &[0xca, 0x3f, 0xc0, 0, 0]),
            ("0.1", &[0xcb, 0x3f, 0xb9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9a]),
            ("-0", &[0xca, 0x80, 0, 0, 0]),
            ("1e400", &[0xca, 0x7f, 0x80, 0, 0]),
            (r#""""#, &[0xa0]),
            (r#""a\u0041\n\"""#, &[0xa4, b'a', b'A', b'\n', b'"']),
            (r#""\ud83d\ude00""#, &[0xa4, 0xf0, 0x9f, 0x98, 0x80]),
            // Half a surrogate pair is no character; JSON text may spell it all the same.
            (r#""\ud83dx""#, &[0xa4, 0xef, 0xbf, 0xbd, b'x']),
            ("[]", &[0x90]),
            (" [ 1 , [ ] , { } ] ", &[0x93, 1, 0x90, 0x80]),
            (r#"{"a":{"b":[null]}}"#, &[0x81, 0xa1, b'a', 0x81, 0xa1, b'b', 0x91, 0xc0]),
        ] {
            assert_eq!(packed(json), bytes, "{json}");
        }
    }

    #[test]
    fn long_texts_arrays_and_maps_take_wider_headers() {
        for (length, header) in [
            (31, &[0xbf][..]),
            (32, &[0xd9, 32]),
            (255, &[0xd9, 255]),
            (256, &[0xda, 1, 0]),
            (65_535, &[0xda, 255, 255]),
            (65_536, &[0xdb, 0, 1, 0, 0]),
        ] {
            let bytes = packed(&json!("x".repeat(length)).to_string());
            assert_eq!((&bytes[..header.len()], bytes.len()), (header, header.len() + length));
        }
        for (length, array, map) in [
            (15, &[0x9f][..], &[0x8f][..]),
            (16, &[0xdc, 0, 16], &[0xde, 0, 16]),
            (65_535, &[0xdc, 255, 255], &[0xde, 255, 255]),
            (65_536, &[0xdd, 0, 1, 0, 0], &[0xdf, 0, 1, 0, 0]),
        ] {
            let values = packed(&json!(vec![7; length]).to_string());
            assert_eq!((&values[..array.len()], values.len()), (array, array.len() + length));
            let members: serde_json::Map<_, _> = (0..length).map(|n| (format!("{n:05}"), json!(7))).collect();
            let members = packed(&json!(members).to_string());
            assert_eq!((&members[..map.len()], members.len()), (map, map.len() + 7 * length));
        }
    }

    #[test]
    fn what_is_not_json_is_refused_and_leaves_nothing() {
        for bad in [
            "",
            " ",
            "{",
            "[1",
            "[1,]",
            "{\"a\":1,}",
            "{1:2}",
            "{\"a\"}",
            "\"x",
            "\"\\u12\"",
            "\"\\q\"",
            "nul",
            "1 2",
            "-",
            "]",
            "{]",
        ] {
            let mut out = b"before".to_vec();
            assert_eq!(from_json(bad, &mut out), Err(NotJson), "{bad}");
            assert_eq!(out, b"before", "{bad}");
        }
    }

    #[test]
    fn every_form_of_a_number_is_read() {
        for (bytes, json) in [
            (&[0xd0, 0xff][..], "-1"),
            (&[0xd1, 0xff, 0xff], "-1"),
            (&[0xcd, 0, 7], "7"),
            (&[0xce, 0, 0, 0, 7], "7"),
            (&[0xcf, 0, 0, 0, 0, 0, 0, 0, 7], "7"),
            (&[0xd3, 0x7f, 255, 255, 255, 255, 255, 255, 255], "9223372036854775807"),
            (&[0xca, 0x3d, 0xcc, 0xcc, 0xcd], "0.10000000149011612"),
            (&[0xcb, 0x44, 0x15, 0xaf, 0x1d, 0x78, 0xb5, 0x8c, 0x40], "1e20"),
        ] {
            assert_eq!(back(bytes).as_deref(), Ok(json));
        }
    }

    #[test]
    fn what_is_no_sound_message_is_refused() {
        use MsgpackError as E;
        let deep = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        assert_eq!(back(&deep(DEPTH_MAX)).map(|json| json.len()), Ok(2 * DEPTH_MAX + 4));
        for (bytes, error) in [
            (&[][..], E::Truncated),
            (&[0xa2, b'a'], E::Truncated),
            (&[0xcb, 0], E::Truncated),
            (&[0x92, 1], E::Truncated),
            // Announces four thousand million values; nothing is set aside for them.
            (&[0xdd, 255, 255, 255, 255, 1], E::Truncated),
            (&[0xdf, 255, 255, 255, 255, 0xa0, 1], E::Truncated),
            (&[0xc0, 0xc0], E::TrailingBytes),
            (&[0xc1], E::Unsupported(0xc1)),
            (&[0xc4, 1, 0], E::Unsupported(0xc4)),
            (&[0xd6, 0xff, 0, 0, 0, 0], E::Unsupported(0xd6)),
            (&[0x81, 1, 1], E::KeyNotText),
            (&[0x82, 0xa1, b'a', 1, 0xa1, b'a', 2], E::DuplicateKey),
            (&[0xa1, 0xff], E::NotUtf8),
            (&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], E::NotFinite),
            (&[0xca, 0x7f, 0xc0, 0, 0], E::NotFinite),
            (&deep(DEPTH_MAX + 1), E::TooDeep),
        ] {
            assert_eq!(back(bytes), Err(error), "{bytes:x?}");
        }
        // The same key in different maps is not twice in one.
        assert!(back(&packed(r#"{"a":{"a":1},"b":[{"a":1},{"a":1}]}"#)).is_ok());
        // Control characters take six bytes of JSON each.
        let text = packed(&json!("\u{1}".repeat(100)).to_string());
        assert_eq!(to_json(&text, 602).map(|json| json.len()), Ok(602));
        assert_eq!(to_json(&text, 601), Err(E::TooLarge { bytes_max: 601 }));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-200..200i64).prop_map(Value::from),
            any::<f64>().prop_filter("JSON has finite numbers only", |number| number.is_finite()).prop_map(Value::from),
            any::<f32>().prop_filter("JSON has finite numbers only", |number| number.is_finite()).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z\\\\\"\u{1}é]{0,300}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 200, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..20)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let bytes = packed(&text);
            // Another's reader agrees on what was written, to the last bit of every number…
            prop_assert_eq!(&rmp_serde::from_slice::<Value>(&bytes).unwrap(), &value);
            // …and what comes back is JSON for the same bytes.
            let returned = back(&bytes).unwrap();
            serde_json::from_str::<Value>(&returned).unwrap();
            prop_assert_eq!(packed(&returned), bytes);
        }

        #[test]
        fn what_others_write_is_read(value in any_json()) {
            let read = back(&rmp_serde::to_vec(&value).unwrap()).unwrap();
            prop_assert_eq!(rmp_serde::from_slice::<Value>(&packed(&read)).unwrap(), value);
        }

        #[test]
        fn no_bytes_are_fatal(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(json) = to_json(&bytes, 500) {
                prop_assert!(json.len() <= 500);
                serde_json::from_str::<serde::de::IgnoredAny>(&json).unwrap();
            }
        }
    }
}
