//! Any text is a cursor or an error; a cursor has one text.
#![no_main]

use memquill::Cursor;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string(), text);
    }
    let made = Cursor::new("list_entries", text);
    assert_eq!(made.to_string().parse::<Cursor>().expect("its own text"), made);
});
