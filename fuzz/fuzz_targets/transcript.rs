//! Any text is read or refused in every form of transcripts, and what is read can be written for
//! every API. The first byte chooses the form: one of its digits, or none to have it told.
#![no_main]

use libfuzzer_sys::fuzz_target;
use memquill::transfer::transcript::{Form, Transcripts, write};

fuzz_target!(|text: &str| {
    let digit = text.bytes().next().filter(u8::is_ascii_digit);
    let (form, text) = match digit {
        Some(digit) => (Form::ALL.get(usize::from(digit - b'0')).copied(), &text[1..]),
        None => (None, text),
    };
    let mut transcripts = Transcripts::new(text.as_bytes()).with_name("file");
    if let Some(form) = form {
        transcripts = transcripts.with_form(form);
    }
    while let Some(found) = transcripts.next().expect("memory can be read") {
        let Ok(read) = found.conversation else { continue };
        assert!(!read.messages.is_empty());
        for form in [Form::Chat, Form::OpenAi, Form::Anthropic] {
            write(form, &read.messages).expect("a form that is written");
        }
    }
});
